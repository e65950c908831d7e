// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSPROCESSINFO_H
#define ORTMILL_SURFACE_NSPROCESSINFO_H

#include <Foundation/NSObject.h>

@class NSString;

/// Documentation: Foundation > NSProcessInfo
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSProcessInfo : NSObject

/// Documentation: Foundation > NSProcessInfo > processInfo
/// Availability: macOS 10.0
@property(class, readonly, strong) NSProcessInfo *_Nonnull processInfo
    API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSProcessInfo > globallyUniqueString
/// Availability: macOS 10.0
@property(readonly, copy) NSString *_Nonnull globallyUniqueString API_AVAILABLE(macos(10.0));

@end

#endif
