// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSSTRING_H
#define ORTMILL_SURFACE_NSSTRING_H

#include <Foundation/NSObject.h>

/// Documentation: Foundation > NSString
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSString : NSObject <NSCopying>

/// Documentation: Foundation > NSString > stringWithUTF8String:
/// Availability: macOS 10.0
+ (instancetype _Nullable)stringWithUTF8String:(const char *_Nonnull)nullTerminatedCString
    API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSString > UTF8String
/// Availability: macOS 10.0
@property(readonly) const char *_Nullable UTF8String API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSString > stringByAppendingString:
/// Availability: macOS 10.0
- (NSString *_Nonnull)stringByAppendingString:(NSString *_Nonnull)aString
    API_AVAILABLE(macos(10.0));

@end

/// Documentation: Foundation > NSMutableString
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSMutableString : NSString

/// Documentation: Foundation > NSMutableString > appendString:
/// Availability: macOS 10.0
- (void)appendString:(NSString *_Nonnull)aString API_AVAILABLE(macos(10.0));

@end

#endif
