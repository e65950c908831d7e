// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSERROR_H
#define ORTMILL_SURFACE_NSERROR_H

#include <Foundation/NSObject.h>

@class NSString;

/// Documentation: Foundation > NSError
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@interface NSError : NSObject

/// Documentation: Foundation > NSError > localizedDescription
/// Availability: macOS 10.0
@property(readonly, copy) NSString *_Nonnull localizedDescription API_AVAILABLE(macos(10.0));

@end

#endif
