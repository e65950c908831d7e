// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSURL_H
#define ORTMILL_SURFACE_NSURL_H

#include <Foundation/NSObject.h>

@class NSString;

/// Documentation: Foundation > NSURL
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSURL : NSObject

/// Documentation: Foundation > NSURL > URLWithString:
/// Availability: macOS 10.0
+ (instancetype _Nullable)URLWithString:(NSString *_Nonnull)URLString API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSURL > fileURLWithPath:
/// Availability: macOS 10.0
+ (NSURL *_Nonnull)fileURLWithPath:(NSString *_Nonnull)path API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSURL > fileURLWithPath:isDirectory:
/// Availability: macOS 10.5
+ (NSURL *_Nonnull)fileURLWithPath:(NSString *_Nonnull)path
                       isDirectory:(BOOL)isDir API_AVAILABLE(macos(10.5));

/// Documentation: Foundation > NSURL > path
/// Availability: macOS 10.0
@property(readonly, copy) NSString *_Nullable path API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSURL > URLByAppendingPathComponent:
/// Availability: macOS 10.6
- (NSURL *_Nullable)URLByAppendingPathComponent:(NSString *_Nonnull)pathComponent
    API_AVAILABLE(macos(10.6));

/// Documentation: Foundation > NSURL > URLByDeletingLastPathComponent
/// Availability: macOS 10.6
@property(readonly, copy) NSURL *_Nullable URLByDeletingLastPathComponent
    API_AVAILABLE(macos(10.6));

@end

#endif
