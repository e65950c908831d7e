/* embed GRAPH IDS OUT: token ids, one text a line, to float32 rows of length 1. */
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 128, HIDDEN = 384, INPUTS = 3 };

static const OrtApi* api;

static void check(OrtStatus* status) {
  if (status == NULL) return;
  fprintf(stderr, "error: %s\n", api->GetErrorMessage(status));
  api->ReleaseStatus(status);
  exit(1);
}

static int read_ids(FILE* file, int64_t ids[WIDTH]) {
  char line[WIDTH * 8];
  int count = 0;
  if (fgets(line, sizeof line, file) == NULL) return -1;
  for (char* word = strtok(line, " \n"); word != NULL; word = strtok(NULL, " \n")) {
    if (count == WIDTH) {
      fprintf(stderr, "error: a text has more than %d tokens\n", WIDTH);
      exit(1);
    }
    ids[count++] = strtoll(word, NULL, 10);
  }
  return count;
}

/* The mean of the first `tokens` rows, scaled to length 1; 0 for NaN and infinity. */
static int finish(const float* states, int tokens, float vector[HIDDEN]) {
  double squares = 0;
  for (int column = 0; column < HIDDEN; ++column) {
    float sum = 0;
    for (int row = 0; row < tokens; ++row) sum += states[row * HIDDEN + column];
    vector[column] = sum / (float)tokens;
    squares += (double)vector[column] * vector[column];
  }
  if (!isfinite(squares)) return 0;
  for (int column = 0; column < HIDDEN; ++column) vector[column] /= (float)fmax(sqrt(squares), 1e-12);
  return 1;
}

int main(int argc, char** argv) {
  static const char* names[INPUTS] = {"input_ids", "attention_mask", "token_type_ids"};
  static const char* outputs[] = {"last_hidden_state"};
  static const int64_t shape[] = {1, WIDTH};
  static int64_t values[INPUTS][WIDTH];
  const OrtApiBase* base = OrtGetApiBase();
  if (argc != 4) return 2;
  /* The header's version and the library's may differ; an older library has no such table. */
  api = base->GetApi(ORT_API_VERSION);
  if (api == NULL) {
    fprintf(stderr, "error: the library is ONNX Runtime %s, and the header is of API %d\n",
            base->GetVersionString(), ORT_API_VERSION);
    return 1;
  }
  printf("ONNX Runtime %s\n", base->GetVersionString());

  OrtEnv* environment;
  OrtSessionOptions* options;
  OrtSession* session;
  OrtMemoryInfo* memory;
  OrtValue* inputs[INPUTS];
  check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "embed", &environment));
  check(api->CreateSessionOptions(&options));
  check(api->CreateSession(environment, argv[1], options, &session));
  check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  for (int input = 0; input < INPUTS; ++input)
    check(api->CreateTensorWithDataAsOrtValue(memory, values[input], sizeof values[input], shape, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &inputs[input]));

  FILE* from = fopen(argv[2], "r");
  FILE* to = fopen(argv[3], "wb");
  if (from == NULL || to == NULL) {
    perror("error");
    return 1;
  }
  for (int row = 0;; ++row) {
    memset(values, 0, sizeof values);
    int tokens = read_ids(from, values[0]);
    if (tokens < 0) break;
    for (int place = 0; place < tokens; ++place) values[1][place] = 1;
    OrtValue* states = NULL;
    float* data;
    float vector[HIDDEN];
    check(api->Run(session, NULL, names, (const OrtValue* const*)inputs, INPUTS, outputs, 1, &states));
    check(api->GetTensorMutableData(states, (void**)&data));
    if (!finish(data, tokens, vector)) {
      fprintf(stderr, "error: text %d: the model gave NaN or an infinity\n", row);
      return 1;
    }
    api->ReleaseValue(states);
    if (fwrite(vector, sizeof vector, 1, to) != 1) return 1;
  }
  for (int input = 0; input < INPUTS; ++input) api->ReleaseValue(inputs[input]);
  api->ReleaseMemoryInfo(memory);
  api->ReleaseSession(session);
  api->ReleaseSessionOptions(options);
  api->ReleaseEnv(environment);
  return fclose(from) | fclose(to);
}
