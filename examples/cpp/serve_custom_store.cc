// A store of the host: evaluations write to it, and others copy from it.
// Run: c++ -std=c++17 serve_custom_store.cc $(pkg-config --cflags --libs nixlang) && ./a.out
#include "common.hpp"
#include <map>
#include <mutex>

// A store in a map. Several threads may ask it at once.
class kept : public nixlang::custom_store {
  public:
    std::optional<nixlang::path_info> query(std::string_view path) override {
        std::lock_guard<std::mutex> guard(mutex_);
        auto found = paths_.find(std::string(path));
        return found == paths_.end() ? std::nullopt : std::optional(found->second.first);
    }
    void write_nar(std::string_view path, const std::function<void(std::string_view)> &sink) override {
        std::lock_guard<std::mutex> guard(mutex_);
        sink(paths_.at(std::string(path)).second);
    }
    void add_nar(std::string_view path, const nixlang::path_info &info, std::string_view nar) override {
        std::lock_guard<std::mutex> guard(mutex_);
        paths_[std::string(path)] = {info, std::string(nar)};
    }
    std::vector<std::string> valid_paths() override {
        std::lock_guard<std::mutex> guard(mutex_);
        std::vector<std::string> names;
        for (const auto &[path, it] : paths_) names.push_back(path);
        return names;
    }

  private:
    std::mutex mutex_;
    std::map<std::string, std::pair<nixlang::path_info, std::string>> paths_;
};

int main() {
    return shown([] {
        auto implementation = std::make_shared<kept>();
        nixlang::store store = nixlang::store::custom(implementation, "example");
        nixlang::config config;
        nixlang::engine(config.use(store)).evaluate("builtins.toFile \"greeting\" \"hello\"");
        for (const std::string &path : implementation->valid_paths()) {
            std::cout << "kept: " << path.substr(44) << ", " << store.info(path)->nar_size << " bytes\n";
            std::cout << "copied: " << store.copy_to(nixlang::store("dummy://?read-only=false"), path).size() << "\n";
        }
    });
}
