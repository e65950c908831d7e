// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_COREML_H
#define ORTMILL_SURFACE_COREML_H

#include <CoreML/MLDictionaryFeatureProvider.h>
#include <CoreML/MLFeatureProvider.h>
#include <CoreML/MLFeatureValue.h>
#include <CoreML/MLModel.h>
#include <CoreML/MLModelConfiguration.h>
#include <CoreML/MLMultiArray.h>
#include <CoreML/MLPredictionOptions.h>


#endif
