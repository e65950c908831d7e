// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_CFSTRING_H
#define ORTMILL_SURFACE_CFSTRING_H

#include <CoreFoundation/CFBase.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Documentation: Core Foundation > CFString > CFStringEncoding
/// Availability: macOS 10.0
typedef UInt32 CFStringEncoding API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFString > CFStringBuiltInEncodings
/// Availability: macOS 10.0
typedef enum CFStringBuiltInEncodings : CFStringEncoding {
  /// Documentation: Core Foundation > CFString > CFStringBuiltInEncodings > kCFStringEncodingUTF8
  /// Availability: macOS 10.0
  kCFStringEncodingUTF8 API_AVAILABLE(macos(10.0)) = 0x08000100,
} CFStringBuiltInEncodings API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFString > CFStringGetLength
/// Availability: macOS 10.0
extern CFIndex CFStringGetLength(CFStringRef theString) API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFString > CFStringGetMaximumSizeForEncoding
/// Availability: macOS 10.0
extern CFIndex CFStringGetMaximumSizeForEncoding(CFIndex length, CFStringEncoding encoding)
    API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFString > CFStringGetCString
/// Availability: macOS 10.0
extern Boolean CFStringGetCString(CFStringRef theString, char *buffer, CFIndex bufferSize,
                                  CFStringEncoding encoding) API_AVAILABLE(macos(10.0));

#ifdef __cplusplus
}
#endif

#endif
