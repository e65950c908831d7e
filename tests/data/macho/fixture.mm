// What the tests' Mach-O files are compiled from: every selector, block and framework function that
// ONNX Runtime's CoreML provider uses, called once or twice, with the numbers that it passes.
#include <CoreFoundation/CFString.h>
#include <CoreFoundation/CFTimeZone.h>
#include <CoreML/CoreML.h>
#include <Foundation/Foundation.h>

#define PUBLIC extern "C" __attribute__((visibility("default")))

#ifdef EXTENSION
extern "C" void *PyLong_FromLong(long value);
#endif

extern "C" __attribute__((noinline)) void consume(const void *pointer) {
  __asm__ volatile("" : : "r"(pointer) : "memory");
}

#ifdef EXTENSION
PUBLIC void *PyInit_onnxruntime_pybind11_state(void) { return PyLong_FromLong(3); }
#else
PUBLIC void *OrtGetApiBase(void) { return nullptr; }
#endif

PUBLIC long CompileModel(const char *text, int units, bool low, bool directory) {
  NSString *path = [NSString stringWithUTF8String:text];
  NSURL *url = [NSURL URLWithString:path];
  if (url == nil) url = [NSURL fileURLWithPath:path];
  if (directory) url = [NSURL fileURLWithPath:NSTemporaryDirectory() isDirectory:YES];
  NSString *name = [@"onnxruntime-"
      stringByAppendingString:[[NSProcessInfo processInfo] globallyUniqueString]];
  NSURL *place = [[url URLByDeletingLastPathComponent] URLByAppendingPathComponent:name];
  NSError *error = nil;
  NSMutableString *found = [[NSMutableString alloc] init];
  if ([[NSFileManager defaultManager] fileExistsAtPath:[place path]]) {
    [found appendString:[place path]];
    NSLog(@"%s", [found UTF8String]);
  }
  NSURL *compiled = [MLModel compileModelAtURL:url error:&error];
  if (error != nil) consume([[error localizedDescription] UTF8String]);
  if (![[NSFileManager defaultManager] moveItemAtURL:compiled toURL:place error:&error]) return -1;
  [[NSFileManager defaultManager] removeItemAtPath:path error:&error];

  MLModelConfiguration *configuration = [[MLModelConfiguration alloc] init];
  if (units & 1) {
    configuration.computeUnits = MLComputeUnitsCPUOnly;
  } else if (units & 32) {
    configuration.computeUnits = MLComputeUnitsCPUAndGPU;
  } else if (units & 4) {
    configuration.computeUnits = MLComputeUnitsCPUAndNeuralEngine;
  } else {
    configuration.computeUnits = MLComputeUnitsAll;
  }
  if (low) configuration.allowLowPrecisionAccumulationOnGPU = YES;
  MLModel *model = [MLModel modelWithContentsOfURL:compiled
                                     configuration:configuration
                                             error:&error];
  return model != nil;
}

PUBLIC long Predict(MLModel *model, void *data, int type, const long long *shape, unsigned long rank,
                    const char *key) {
  NSError *error = nil;
  NSMutableDictionary *features = [NSMutableDictionary dictionaryWithCapacity:rank];
  NSMutableArray *sizes = [NSMutableArray arrayWithCapacity:rank];
  NSMutableArray *strides = [NSMutableArray arrayWithCapacity:rank];
  long long stride = 1;
  for (unsigned long index = 0; index < rank; ++index) {
    [sizes addObject:[NSNumber numberWithLongLong:shape[index]]];
    [strides insertObject:[NSNumber numberWithLongLong:stride] atIndex:0];
    stride *= shape[rank - 1 - index];
  }
  MLMultiArrayDataType kind;
  switch (type) {
    case 1:
      kind = MLMultiArrayDataTypeFloat32;
      break;
    case 10:
      kind = MLMultiArrayDataTypeFloat16;
      break;
    case 6:
      kind = MLMultiArrayDataTypeInt32;
      break;
    default:
      return -1;
  }
  MLMultiArray *array = [[MLMultiArray alloc] initWithDataPointer:data
                                                            shape:sizes
                                                         dataType:kind
                                                          strides:strides
                                                      deallocator:^(void *bytes) {
                                                      }
                                                            error:&error];
  NSString *name = [NSString stringWithUTF8String:key];
  features[name] = [MLFeatureValue featureValueWithMultiArray:array];
  id<MLFeatureProvider> input = [[MLDictionaryFeatureProvider alloc] initWithDictionary:features
                                                                                  error:&error];
  MLPredictionOptions *options = [[MLPredictionOptions alloc] init];
  id<MLFeatureProvider> output = [model predictionFromFeatures:input options:options error:&error];
  MLMultiArray *result = [[output featureValueForName:name] multiArrayValue];
  long long total = 0;
  for (NSNumber *size in result.shape) total += size.longLongValue;
  total += [result.strides[0] longLongValue] * (long long)result.shape.count;
  if (result.dataType != MLMultiArrayDataTypeInt32) return -2;
  __block long long sum = total + result.count;
  [result getBytesWithHandler:^(const void *bytes, NSInteger size) {
    consume(bytes);
    sum += size;
  }];
  return sum;
}

PUBLIC bool TimeZone(char *buffer, long size) {
  CFTimeZoneRef zone = CFTimeZoneCopyDefault();
  CFStringRef name = CFTimeZoneGetName(zone);
  CFIndex length = CFStringGetLength(name);
  CFIndex most = CFStringGetMaximumSizeForEncoding(length, kCFStringEncodingUTF8) + 1;
  bool done = most <= size && CFStringGetCString(name, buffer, most, kCFStringEncodingUTF8);
  CFRelease(zone);
  return done;
}

#ifdef STUBS
// Xcode's compiler calls stubs of this name, which the linker makes; upstream's Clang does not.
extern "C" long send_count(id array, SEL unused) __asm__("_objc_msgSend$count");
extern "C" void send_units(id settings, SEL unused, long units)
    __asm__("_objc_msgSend$setComputeUnits:");

PUBLIC long ThroughStubs(id array, id settings) {
  send_units(settings, nullptr, 3);
  return send_count(array, nullptr);
}
#endif
