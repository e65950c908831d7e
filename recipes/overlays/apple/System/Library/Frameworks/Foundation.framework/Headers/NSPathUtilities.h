// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSPATHUTILITIES_H
#define ORTMILL_SURFACE_NSPATHUTILITIES_H

#include <Foundation/NSObject.h>

@class NSString;

#ifdef __cplusplus
extern "C" {
#endif

/// Documentation: Foundation > NSTemporaryDirectory
/// Availability: macOS 10.0
extern NSString *_Nonnull NSTemporaryDirectory(void) API_AVAILABLE(macos(10.0));

#ifdef __cplusplus
}
#endif

#endif
