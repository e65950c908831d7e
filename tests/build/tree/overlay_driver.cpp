// Calls the coremltools overlay as ONNX Runtime's model_builder.{h,cc} (1.21.0) does, on command.

// model_builder.h declares these two and nothing more, so they must stay plain classes.
namespace MPL {
class ModelPackage;
}
namespace MILBlob {
namespace Blob {
class StorageWriter;
}
}  // namespace MILBlob

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "mlmodel/src/MILBlob/Blob/StorageWriter.hpp"
#include "modelpackage/src/ModelPackage.hpp"

using MILBlob::Blob::StorageWriter;

namespace {

std::vector<char> ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw std::runtime_error("driver: cannot read " + path);
  }
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void CreateEmptyFile(const std::string& path) {
  if (!std::ofstream(path, std::ofstream::out | std::ofstream::binary).is_open()) {
    throw std::runtime_error("driver: cannot create " + path);
  }
}

// As WriteRawDataUsingStorageWriter and WriteFromInt32DataUsingStorageWriter.
template <typename T>
std::uint64_t WriteRaw(const std::vector<char>& raw, MILBlob::Blob::StorageWriter& writer) {
  std::vector<T> values(raw.size() / sizeof(T));
  if (!values.empty()) {
    std::memcpy(static_cast<void*>(values.data()), raw.data(), values.size() * sizeof(T));
  }
  MILBlob::Util::Span<const T> data(reinterpret_cast<const T*>(values.data()), values.size());
  return writer.WriteData(data);
}

std::uint64_t Write(const std::string& type, const std::vector<char>& raw, StorageWriter& writer) {
  if (type == "fp16") return WriteRaw<MILBlob::Fp16>(raw, writer);
  if (type == "float") return WriteRaw<float>(raw, writer);
  if (type == "uint8") return WriteRaw<std::uint8_t>(raw, writer);
  if (type == "int8") return WriteRaw<std::int8_t>(raw, writer);
  if (type == "int16") return WriteRaw<std::int16_t>(raw, writer);
  if (type == "uint16") return WriteRaw<std::uint16_t>(raw, writer);
  if (type == "int32") return WriteRaw<std::int32_t>(raw, writer);
  if (type == "uint32") return WriteRaw<std::uint32_t>(raw, writer);
  throw std::runtime_error("driver: unknown type " + type);
}

// blobs FILE [TYPE RAW]...: prints the offset of each blob as it is written. After an error it tries
// once more, as a caller that swallows the first one would.
void Blobs(const std::vector<std::string>& arguments) {
  StorageWriter writer(arguments.at(0));
  for (std::size_t i = 1; i + 1 < arguments.size(); i += 2) {
    const std::vector<char> raw = ReadFile(arguments[i + 1]);
    try {
      std::cout << Write(arguments[i], raw, writer) << std::endl;
    } catch (const std::runtime_error& first) {
      std::cerr << first.what() << std::endl;
      Write(arguments[i], raw, writer);
    }
  }
}

// package DIRECTORY DESCRIPTION: the calls of ModelBuilder's constructor and SaveModel, in their order.
void Package(const std::vector<std::string>& arguments) {
  const std::string path = arguments.at(0);
  std::unique_ptr<MPL::ModelPackage> mlpackage;
  std::unique_ptr<MILBlob::Blob::StorageWriter> weights_file_writer;

  mlpackage = std::make_unique<MPL::ModelPackage>(path, /* create */ true);
  const std::string tmp_dir = path + "/tmp";
  std::filesystem::create_directory(tmp_dir);
  CreateEmptyFile(tmp_dir + "/weight.bin");
  std::string weights_id =
      mlpackage->addItem(tmp_dir, "weights", "com.microsoft.OnnxRuntime", "CoreML Model Weights");
  auto weights_info = mlpackage->findItem(weights_id);
  weights_file_writer = std::make_unique<StorageWriter>(weights_info->path() + "/weight.bin");

  const std::vector<float> values = {1.0F, 2.0F, 3.0F};
  const int size = static_cast<int>(values.size());  // protobuf's repeated fields count in int
  MILBlob::Util::Span<const float> data(values.data(), size);
  std::uint64_t offset = weights_file_writer->WriteData(data);
  std::cout << offset << std::endl;

  std::string tmp_model_path = path + "/tmp/model.mlmodel";
  CreateEmptyFile(tmp_model_path);
  std::string model_id = mlpackage->setRootModel(tmp_model_path, "model.mlmodel",
                                                 "com.microsoft.OnnxRuntime", arguments.at(1));
  auto model_info = mlpackage->findItem(model_id);
  std::string output_path;
  output_path = model_info->path();
  std::ofstream(output_path, std::ofstream::out | std::ofstream::binary) << "spec";
  mlpackage.reset();
  weights_file_writer.reset();
}

// open DIRECTORY: what a package says of itself.
void Open(const std::vector<std::string>& arguments) {
  MPL::ModelPackage package(arguments.at(0), false);
  const auto root = package.getRootModel();
  for (const std::string& text :
       {root->identifier(), root->path(), root->name(), root->author(), root->description()}) {
    std::cout << text << std::endl;
  }
}

// add DIRECTORY SOURCE NAME AUTHOR DESCRIPTION [root]
void Add(const std::vector<std::string>& arguments) {
  MPL::ModelPackage package(arguments.at(0));
  const auto add = arguments.size() > 5 ? &MPL::ModelPackage::setRootModel : &MPL::ModelPackage::addItem;
  std::cout << (package.*add)(arguments.at(1), arguments.at(2), arguments.at(3), arguments.at(4)) << std::endl;
}

// abandon DIRECTORY SOURCE: an exception passes while the package is half made.
void Abandon(const std::vector<std::string>& arguments) {
  MPL::ModelPackage package(arguments.at(0));
  package.addItem(arguments.at(1), "weights", "someone", "");
  throw std::runtime_error("driver: given up");
}

// find DIRECTORY IDENTIFIER
void Find(const std::vector<std::string>& arguments) {
  MPL::ModelPackage package(arguments.at(0), false);
  std::cout << package.findItem(arguments.at(1))->path() << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: driver COMMAND PATH ..." << std::endl;
    return 2;
  }
  const std::string command = argv[1];
  const std::vector<std::string> arguments(argv + 2, argv + argc);
  try {
    if (command == "blobs") Blobs(arguments);
    else if (command == "package") Package(arguments);
    else if (command == "open") Open(arguments);
    else if (command == "add") Add(arguments);
    else if (command == "abandon") Abandon(arguments);
    else if (command == "find") Find(arguments);
    else return 2;
  } catch (const std::runtime_error& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
  return 0;
}
