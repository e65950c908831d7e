// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSVALUE_H
#define ORTMILL_SURFACE_NSVALUE_H

#include <Foundation/NSObject.h>

/// Documentation: Foundation > NSValue
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSValue : NSObject
@end

/// Documentation: Foundation > NSNumber
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSNumber : NSValue

/// Documentation: Foundation > NSNumber > numberWithLongLong:
/// Availability: macOS 10.0
+ (NSNumber *_Nonnull)numberWithLongLong:(long long)value API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSNumber > longLongValue
/// Availability: macOS 10.0
@property(readonly) long long longLongValue API_AVAILABLE(macos(10.0));

@end

#endif
