// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSDICTIONARY_H
#define ORTMILL_SURFACE_NSDICTIONARY_H

#include <Foundation/NSObject.h>

/// Documentation: Foundation > NSDictionary
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSDictionary<__covariant KeyType, __covariant ObjectType> : NSObject
@end

/// Documentation: Foundation > NSMutableDictionary
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSMutableDictionary<KeyType, ObjectType> : NSDictionary <KeyType, ObjectType>

/// Documentation: Foundation > NSMutableDictionary > dictionaryWithCapacity:
/// Availability: macOS 10.0
+ (instancetype _Nonnull)dictionaryWithCapacity:(NSUInteger)numItems API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSMutableDictionary > setObject:forKeyedSubscript:
/// Availability: macOS 10.8
- (void)setObject:(ObjectType _Nullable)obj
    forKeyedSubscript:(id<NSCopying> _Nonnull)key API_AVAILABLE(macos(10.8));

@end

#endif
