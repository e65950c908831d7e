// embed GRAPH IDS OUT: token ids, one text a line, to float32 rows of length 1.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

class Encoder {
 public:
  explicit Encoder(const char* graph) : session_(environment_, graph, Ort::SessionOptions{}) {
    shape_ = session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    if (shape_.size() != 2 || shape_[0] != 1 || shape_[1] < 1)
      throw std::runtime_error("a static graph takes (1, n)");
  }

  std::vector<float> embed(const std::vector<std::int64_t>& tokens) {
    const auto width = static_cast<std::size_t>(shape_[1]);
    if (tokens.empty() || tokens.size() > width)
      throw std::runtime_error(std::to_string(tokens.size()) + " tokens do not fit the graph");
    std::array<std::vector<std::int64_t>, 3> values;
    for (auto& each : values) each.assign(width, 0);
    std::copy(tokens.begin(), tokens.end(), values[0].begin());
    std::fill_n(values[1].begin(), tokens.size(), 1);
    std::vector<Ort::Value> inputs;
    for (auto& each : values)
      inputs.push_back(Ort::Value::CreateTensor<std::int64_t>(memory_, each.data(), each.size(),
                                                              shape_.data(), shape_.size()));
    const char* names[] = {"input_ids", "attention_mask", "token_type_ids"};
    const char* outputs[] = {"last_hidden_state"};
    auto states = session_.Run(Ort::RunOptions{}, names, inputs.data(), inputs.size(), outputs, 1);
    const auto hidden =
        static_cast<std::size_t>(states[0].GetTensorTypeAndShapeInfo().GetShape()[2]);
    return finish(states[0].GetTensorData<float>(), tokens.size(), hidden);
  }

 private:
  // The mean of the rows, scaled to length 1; NaN is caught before the norm hides it.
  static std::vector<float> finish(const float* states, std::size_t tokens, std::size_t hidden) {
    std::vector<float> mean(hidden);
    for (std::size_t row = 0; row < tokens; ++row)
      for (std::size_t column = 0; column < hidden; ++column)
        mean[column] += states[row * hidden + column];
    double squares = 0;
    for (float& value : mean) {
      value /= static_cast<float>(tokens);
      squares += static_cast<double>(value) * value;
    }
    if (!std::isfinite(squares)) throw std::runtime_error("the model gave NaN or an infinity");
    for (float& value : mean) value /= static_cast<float>(std::max(std::sqrt(squares), 1e-12));
    return mean;
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_WARNING, "embed"};
  Ort::Session session_;
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<std::int64_t> shape_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  std::cout << "ONNX Runtime " << Ort::GetVersionString() << std::endl;
  Encoder encoder(argv[1]);
  std::ifstream from(argv[2]);
  std::ofstream to(argv[3], std::ios::binary);
  for (std::string line; std::getline(from, line);) {
    std::istringstream words(line);
    std::vector<std::int64_t> tokens;
    for (std::int64_t token; words >> token;) tokens.push_back(token);
    const auto vector = encoder.embed(tokens);
    to.write(reinterpret_cast<const char*>(vector.data()),
             static_cast<std::streamsize>(vector.size() * sizeof(float)));
  }
  return to.flush() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << std::endl;
  return 1;
}
