// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSOBJCRUNTIME_H
#define ORTMILL_SURFACE_NSOBJCRUNTIME_H

#include <objc/NSObjCRuntime.h>
#include <os/availability.h>

@class NSString;

#ifdef __cplusplus
extern "C" {
#endif

/// Documentation: Foundation > NSLog
/// Availability: macOS 10.0
extern void NSLog(NSString *format, ...) __attribute__((format(__NSString__, 1, 2)))
API_AVAILABLE(macos(10.0));

#ifdef __cplusplus
}
#endif

#endif
