/* A program that names CoreML's function itself: it must link, and the provider must register. */
#include <coreml_provider_factory.h>
#include <stdio.h>

int main(void) {
  const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  OrtEnv* environment;
  OrtSessionOptions* options;
  if (api == NULL) return 1;
  /* The environment first: the provider logs, and without a logger the process is aborted. */
  if (api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "coreml", &environment) != NULL) return 1;
  if (api->CreateSessionOptions(&options) != NULL) return 1;
  OrtStatus* status = OrtSessionOptionsAppendExecutionProvider_CoreML(
      options, COREML_FLAG_CREATE_MLPROGRAM | COREML_FLAG_ONLY_ALLOW_STATIC_INPUT_SHAPES);
  puts(status == NULL ? "registered" : api->GetErrorMessage(status));
  api->ReleaseSessionOptions(options);
  api->ReleaseEnv(environment);
  return status != NULL;
}
