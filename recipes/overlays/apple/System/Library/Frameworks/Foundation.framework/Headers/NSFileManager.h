// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSFILEMANAGER_H
#define ORTMILL_SURFACE_NSFILEMANAGER_H

#include <Foundation/NSObject.h>

@class NSError;
@class NSString;
@class NSURL;

/// Documentation: Foundation > NSFileManager
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSFileManager : NSObject

/// Documentation: Foundation > NSFileManager > defaultManager
/// Availability: macOS 10.0
@property(class, readonly, strong) NSFileManager *_Nonnull defaultManager
    API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSFileManager > fileExistsAtPath:
/// Availability: macOS 10.0
- (BOOL)fileExistsAtPath:(NSString *_Nonnull)path API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSFileManager > moveItemAtURL:toURL:error:
/// Availability: macOS 10.6
- (BOOL)moveItemAtURL:(NSURL *_Nonnull)srcURL
                toURL:(NSURL *_Nonnull)dstURL
                error:(NSError *_Nullable *_Nullable)error API_AVAILABLE(macos(10.6));

/// Documentation: Foundation > NSFileManager > removeItemAtPath:error:
/// Availability: macOS 10.5
- (BOOL)removeItemAtPath:(NSString *_Nonnull)path
                   error:(NSError *_Nullable *_Nullable)error API_AVAILABLE(macos(10.5));

@end

#endif
