// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLDICTIONARYFEATUREPROVIDER_H
#define ORTMILL_SURFACE_MLDICTIONARYFEATUREPROVIDER_H

#include <Foundation/Foundation.h>
#include <CoreML/MLFeatureProvider.h>

/// Documentation: Core ML > MLDictionaryFeatureProvider
/// Availability: macOS 10.13
API_AVAILABLE(macos(10.13))
@interface MLDictionaryFeatureProvider : NSObject <MLFeatureProvider>

/// Documentation: Core ML > MLDictionaryFeatureProvider > initWithDictionary:error:
/// Availability: macOS 10.13
- (instancetype _Nullable)initWithDictionary:(NSDictionary<NSString *, id> *_Nonnull)dictionary
                                       error:(NSError *_Nullable *_Nullable)error
    API_AVAILABLE(macos(10.13));

@end

#endif
