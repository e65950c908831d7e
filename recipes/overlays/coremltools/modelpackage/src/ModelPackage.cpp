#include "ModelPackage.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/stat.h>

#include "json.hpp"

namespace MPL {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kManifest = "Manifest.json";
constexpr const char* kTemporary = "Manifest.json.tmp";
constexpr const char* kData = "Data";
constexpr const char* kVersion = "1.0.0";

[[noreturn]] void Fail(const std::string& what, const std::error_code& code = {}) {
  throw std::runtime_error(code ? what + ": " + code.message() : what);
}

// FNV-1a, 64 bits.
std::uint64_t Hash(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return hash;
}

// RFC 9562 version 8, the one for identifiers with a rule of their own: two FNV-1a hashes of the
// item's path, each behind another prefix. Not random, so one model always gives one manifest.
std::string Identifier(const std::string& path) {
  const std::array<std::uint64_t, 2> halves = {Hash("item:" + path), Hash("package:" + path)};
  std::array<unsigned char, 16> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>((halves[i / 8] >> (8 * (7 - i % 8))) & 0xFF);
  }
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x80);  // version 8
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);  // the RFC's variant

  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      text += '-';
    }
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 0x0F];
  }
  return text;
}

bool IsPlainComponent(std::string_view text) {
  using namespace std::string_view_literals;
  return !text.empty() && text != "." && text != ".." && text.find_first_of("/\\\0"sv) == std::string_view::npos;
}

// A manifest from elsewhere must not lead out of the package's Data directory.
bool StaysInside(const std::string& relative) {
  if (relative.empty() || relative.front() == '/') {
    return false;
  }
  std::string_view rest(relative);
  while (true) {
    const size_t slash = rest.find('/');
    if (rest.substr(0, slash) == "..") {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    rest.remove_prefix(slash + 1);
  }
}

// Links that lead nowhere count too.
bool Exists(const fs::path& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0;
}

void RequireUtf8(const std::string& text, const char* what) {
  try {
    static_cast<void>(Json(text).dump());
  } catch (const Json::exception&) {
    Fail(std::string("The ") + what + " of a model package's item must be valid UTF-8");
  }
}

void Copy(const fs::path& source, const fs::path& target) {
  std::error_code code;
  fs::create_directories(target.parent_path(), code);
  if (code) {
    Fail("Failed to create directory '" + target.parent_path().string() + "'", code);
  }
  fs::copy(source, target, fs::copy_options::recursive, code);
  if (code) {
    std::error_code ignored;  // the first error is the one to report
    fs::remove_all(target, ignored);
    Fail("Failed to copy '" + source.string() + "' to '" + target.string() + "'", code);
  }
}

}  // namespace

ModelPackageItemInfo::ModelPackageItemInfo(std::string identifier, std::string path, std::string name,
                                           std::string author, std::string description)
    : identifier_(std::move(identifier)),
      path_(std::move(path)),
      name_(std::move(name)),
      author_(std::move(author)),
      description_(std::move(description)) {}

ModelPackage::ModelPackage(const std::string& path, bool createIfNecessary)
    : path_(path), exceptions_at_start_(std::uncaught_exceptions()) {
  std::error_code code;
  if (fs::exists(path_, code)) {
    Load();
    return;
  }
  if (!createIfNecessary) {
    Fail("There is no model package at '" + path_ + "'");
  }
  for (const fs::path& directory : {fs::path(path_), fs::path(path_) / kData}) {
    if (!fs::create_directory(directory, code)) {
      Fail("Failed to create model package directory '" + directory.string() + "'", code);
    }
  }
  changed_ = true;
}

ModelPackage::~ModelPackage() {
  if (!changed_ || std::uncaught_exceptions() > exceptions_at_start_) {
    return;
  }
  try {
    Save();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

std::string ModelPackage::addItem(const std::string& path, const std::string& name, const std::string& author,
                                  const std::string& description) {
  for (const std::string* part : {&author, &name}) {
    if (!IsPlainComponent(*part)) {
      Fail("'" + *part + "' cannot be an author or item name in model package '" + path_ +
           "': it must be one plain path component");
    }
  }
  RequireUtf8(name, "name");
  RequireUtf8(author, "author");
  RequireUtf8(description, "description");

  const std::string relative = author + "/" + name;
  const std::string identifier = Identifier(relative);
  for (const auto& [other, item] : items_) {
    if (other == identifier || item.path == relative) {
      Fail("Model package '" + path_ + "' already has an item '" + name + "' of author '" + author + "'");
    }
  }
  const fs::path target = Locate(relative);
  if (Exists(target)) {
    Fail("'" + target.string() + "' exists already, though the manifest does not list it");
  }
  Copy(path, target);
  items_[identifier] = Item{relative, name, author, description};
  changed_ = true;
  return identifier;
}

std::string ModelPackage::setRootModel(const std::string& path, const std::string& name, const std::string& author,
                                       const std::string& description) {
  if (!root_.empty()) {
    Fail("Model package '" + path_ + "' already has a root model");
  }
  root_ = addItem(path, name, author, description);
  return root_;
}

std::shared_ptr<ModelPackageItemInfo> ModelPackage::findItem(const std::string& identifier) const {
  const auto found = items_.find(identifier);
  if (found == items_.end()) {
    Fail("Model package '" + path_ + "' has no item '" + identifier + "'");
  }
  const Item& item = found->second;
  return std::make_shared<ModelPackageItemInfo>(identifier, Locate(item.path), item.name, item.author,
                                                item.description);
}

std::shared_ptr<ModelPackageItemInfo> ModelPackage::getRootModel() const {
  if (root_.empty()) {
    Fail("Model package '" + path_ + "' has no root model");
  }
  return findItem(root_);
}

std::string ModelPackage::Locate(const std::string& relative) const {
  return (fs::path(path_) / kData / fs::path(relative)).string();
}

void ModelPackage::Load() {
  const std::string file = (fs::path(path_) / kManifest).string();
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    Fail("There is no readable manifest at '" + file + "', so '" + path_ + "' is not a model package");
  }
  try {
    const Json manifest = Json::parse(stream);
    const std::string version = manifest.at("fileFormatVersion").get<std::string>();
    if (version != kVersion) {
      Fail("unknown file format version '" + version + "'");
    }
    // A package without items may have no such entry.
    const Json entries = manifest.value("itemInfoEntries", Json::object());
    for (const auto& [identifier, entry] : entries.items()) {
      Item item{entry.at("path").get<std::string>(), entry.at("name").get<std::string>(),
                entry.at("author").get<std::string>(), entry.value("description", std::string())};
      if (!StaysInside(item.path)) {
        Fail("the path '" + item.path + "' leads out of the package");
      }
      std::error_code code;
      if (!fs::exists(Locate(item.path), code)) {
        Fail("the item '" + item.path + "' is missing");
      }
      items_.emplace(identifier, std::move(item));
    }
    root_ = manifest.value("rootModelIdentifier", std::string());
    if (!root_.empty() && items_.count(root_) == 0) {
      Fail("the root model '" + root_ + "' is not among the items");
    }
  } catch (const std::exception& error) {
    Fail("The manifest at '" + file + "' is not valid: " + error.what());
  }
}

void ModelPackage::Save() const {
  Json entries = Json::object();
  for (const auto& [identifier, item] : items_) {
    entries[identifier] = {
        {"author", item.author}, {"description", item.description}, {"name", item.name}, {"path", item.path}};
  }
  Json manifest = {{"fileFormatVersion", kVersion}, {"itemInfoEntries", std::move(entries)}};
  if (!root_.empty()) {
    manifest["rootModelIdentifier"] = root_;
  }

  const fs::path target = fs::path(path_) / kManifest;
  const fs::path temporary = fs::path(path_) / kTemporary;
  const std::string problem = "Failed to write '" + target.string() + "', so the model package is not usable";
  std::error_code code;
  {
    errno = 0;
    std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
    stream << manifest.dump(4) << '\n';
    stream.close();  // sets the fail state if the last bytes did not reach the file
    if (!stream) {
      const std::error_code cause(errno, std::generic_category());
      fs::remove(temporary, code);
      Fail(problem, cause);
    }
  }
  fs::rename(temporary, target, code);
  if (code) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    Fail(problem, code);
  }
}

}  // namespace MPL
