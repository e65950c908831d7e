// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSARRAY_H
#define ORTMILL_SURFACE_NSARRAY_H

#include <Foundation/NSEnumerator.h>

/// Documentation: Foundation > NSArray
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSArray<__covariant ObjectType> : NSObject <NSFastEnumeration>

/// Documentation: Foundation > NSArray > count
/// Availability: macOS 10.0
@property(readonly) NSUInteger count API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSArray > objectAtIndexedSubscript:
/// Availability: macOS 10.8
- (ObjectType _Nonnull)objectAtIndexedSubscript:(NSUInteger)idx API_AVAILABLE(macos(10.8));

@end

/// Documentation: Foundation > NSMutableArray
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSMutableArray<ObjectType> : NSArray <ObjectType>

/// Documentation: Foundation > NSMutableArray > arrayWithCapacity:
/// Availability: macOS 10.0
+ (instancetype _Nonnull)arrayWithCapacity:(NSUInteger)numItems API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSMutableArray > addObject:
/// Availability: macOS 10.0
- (void)addObject:(ObjectType _Nonnull)anObject API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSMutableArray > insertObject:atIndex:
/// Availability: macOS 10.0
- (void)insertObject:(ObjectType _Nonnull)anObject
             atIndex:(NSUInteger)index API_AVAILABLE(macos(10.0));

@end

#endif
