// nixlang.hpp: the Nix language for C++17, over nixlang.h: RAII, exceptions, lambdas as builtins. One header, no library of its own.
//
// Objects are handles: copying one counts, moving it is free, and an empty one is false. What nixlang.h says of threads and ownership holds.
// A call that fails throws nixlang::error. An exception that leaves a builtin comes out of the call that evaluated it, unchanged, as long as the expression
// did not catch it on the way (`tryEval` does not).
#ifndef NIXLANG_HPP
#define NIXLANG_HPP

#include "nixlang.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace nixlang {

inline nixlang_string to_c(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view from_c(nixlang_string text) { return text.data ? std::string_view(text.data, text.length) : std::string_view(); }

// A place in a source; line 0 if it is not known.
struct place {
    std::string file;
    std::uint32_t line = 0, column = 0;
};

// A step on the way to an error.
struct frame {
    std::string message;
    nixlang::place place;
};

namespace detail {
template <typename T, void (*Free)(T *)> struct deleter {
    void operator()(T *handle) const { Free(handle); }
};
template <typename T, void (*Free)(T *)> using owned = std::unique_ptr<T, deleter<T, Free>>;

inline std::exception_ptr &pending() {
    static thread_local std::exception_ptr exception;
    return exception;
}
inline constexpr std::string_view marker = "C++ exception: ";
} // namespace detail

// What a call failed with. what() is the message alone.
class error : public std::runtime_error {
  public:
    explicit error(nixlang_error *handle) : std::runtime_error(std::string(from_c(nixlang_error_message(handle)))), handle_(handle, nixlang_error_free) {}
    // For builtins that fail in a way that Nix knows, such as NIXLANG_THROW.
    error(nixlang_code code, std::string_view message) : error(nixlang_error_new(code, to_c(message))) {}

    nixlang_code code() const noexcept { return nixlang_error_code(handle_.get()); }
    nixlang::place place() const { return copy(nixlang_error_place(handle_.get())); }
    std::vector<frame> trace() const {
        std::vector<frame> frames;
        nixlang_frame next;
        for (std::size_t i = 0; nixlang_error_frame(handle_.get(), i, &next); i++) frames.push_back({std::string(from_c(next.message)), copy(next.place)});
        return frames;
    }
    // The error as people read it.
    std::string render(nixlang_style style = NIXLANG_STYLE_NIX, bool show_trace = false, bool colour = false) const {
        nixlang_bytes bytes = {nullptr, 0};
        nixlang_error_free(nixlang_error_render(handle_.get(), style, show_trace, colour, &bytes));
        std::string text(bytes.data ? bytes.data : "", bytes.length);
        nixlang_bytes_free(&bytes);
        return text;
    }

  private:
    static nixlang::place copy(nixlang_place place) { return {std::string(from_c(place.file)), place.line, place.column}; }
    std::shared_ptr<nixlang_error> handle_;
};

// Throws what a call returned, if it failed.
inline void check(nixlang_error *failed) {
    if (!failed) return;
    if (detail::pending() && from_c(nixlang_error_message(failed)).find(detail::marker) != std::string_view::npos) {
        nixlang_error_free(failed);
        std::rethrow_exception(std::exchange(detail::pending(), nullptr));
    }
    throw error(failed);
}

namespace detail {
inline std::string take(nixlang_bytes bytes) {
    std::string text(bytes.data ? bytes.data : "", bytes.length);
    nixlang_bytes_free(&bytes);
    return text;
}
// Runs a callback's body; an exception becomes an error, and waits for the call that this one is a part of.
template <typename F> nixlang_error *guarded(F &&body) noexcept {
    try {
        std::forward<F>(body)();
        return nullptr;
    } catch (const error &failed) {
        return nixlang_error_new(failed.code(), to_c(failed.what()));
    } catch (const std::exception &failed) {
        std::string text = std::string(marker) + failed.what();
        pending() = std::current_exception();
        return nixlang_error_new(NIXLANG_RECOVERABLE, to_c(text));
    } catch (...) {
        pending() = std::current_exception();
        return nixlang_error_new(NIXLANG_RECOVERABLE, to_c(marker));
    }
}
} // namespace detail

// Stops what runs with it, from any thread.
class cancel_token {
  public:
    cancel_token() : handle_(nixlang_cancel_new(), nixlang_cancel_free) {}
    void fire() const { nixlang_cancel_fire(handle_.get()); }
    const nixlang_cancel *get() const { return handle_.get(); }

  private:
    std::shared_ptr<nixlang_cancel> handle_;
};

// What a call may use up; zero is no limit.
struct budget {
    std::uint64_t steps = 0, heap_bytes = 0, time_ms = 0;
    std::optional<cancel_token> cancel;

    nixlang_budget to_c() const { return {sizeof(nixlang_budget), steps, heap_bytes, time_ms, cancel ? cancel->get() : nullptr}; }
};

// A value, possibly not evaluated yet.
class value {
  public:
    value() = default;
    explicit value(nixlang_value *handle) : handle_(handle) {}
    value(const value &other) : handle_(nixlang_value_retain(other.handle_.get())) {}
    value(value &&) noexcept = default;
    value &operator=(value other) noexcept {
        handle_.swap(other.handle_);
        return *this;
    }
    explicit operator bool() const { return static_cast<bool>(handle_); }
    nixlang_value *get() const { return handle_.get(); }
    nixlang_value *release() { return handle_.release(); }

    // What it is so far; force() first to know what it is.
    nixlang_type type() const { return nixlang_value_type(get()); }
    const value &force(const budget &limits = {}) const {
        nixlang_budget c = limits.to_c();
        check(nixlang_value_force(get(), &c));
        return *this;
    }
    const value &force_deep(const budget &limits = {}) const {
        nixlang_budget c = limits.to_c();
        check(nixlang_value_force_deep(get(), &c));
        return *this;
    }

    // Evaluate, and throw if it is something else.
    bool as_bool() const { return as<bool>(nixlang_value_bool, "a Boolean"); }
    std::int64_t as_int() const { return as<std::int64_t>(nixlang_value_int, "an integer"); }
    double as_float() const { return as<double>(nixlang_value_float, "a float"); }
    // Lives as long as the engine.
    std::string_view as_string() const { return from_c(as<nixlang_string>(nixlang_value_string, "a string")); }
    std::string_view as_path() const { return from_c(as<nixlang_string>(nixlang_value_path, "a path")); }

    std::size_t size() const { return nixlang_value_length(force().get()); }
    value operator[](std::size_t index) const { return part(nixlang_value_element(force().get(), index), std::to_string(index)); }
    value operator[](std::string_view name) const { return part(nixlang_value_attribute(force().get(), to_c(name)), std::string(name)); }
    value operator[](const char *name) const { return (*this)[std::string_view(name)]; }
    std::optional<value> find(std::string_view name) const {
        value found(nixlang_value_attribute(force().get(), to_c(name)));
        return found ? std::optional<value>(std::move(found)) : std::nullopt;
    }
    value select(std::string_view path, const budget &limits = {}) const {
        nixlang_budget c = limits.to_c();
        nixlang_value *result = nullptr;
        check(nixlang_value_select(get(), to_c(path), &c, &result));
        return value(result);
    }
    // Calls function(name, value) for each attribute, in the order of the names, evaluating none.
    template <typename F> void each_attribute(F &&function) const {
        for (std::size_t i = 0, n = size(); i < n; i++) {
            nixlang_string name;
            value attribute(nixlang_value_attribute_at(get(), i, &name));
            if (attribute) function(from_c(name), std::move(attribute));
        }
    }

    template <typename... Arguments> value operator()(const Arguments &...arguments) const { return call({}, arguments...); }
    template <typename... Arguments> value call(const budget &limits, const Arguments &...arguments) const {
        const nixlang_value *handles[] = {arguments.get()..., nullptr};
        nixlang_budget c = limits.to_c();
        nixlang_value *result = nullptr;
        check(nixlang_value_call(get(), handles, sizeof...(arguments), &c, &result));
        return value(result);
    }

    std::string to_json(const budget &limits = {}) const { return text(nixlang_value_to_json, limits); }
    std::string print(const budget &limits = {}) const { return text(nixlang_value_print, limits); }
    std::string derivation(const budget &limits = {}) const { return text(nixlang_value_derivation, limits); }

  private:
    template <typename T> T as(bool (*getter)(const nixlang_value *, T *), const char *wanted) const {
        T result{};
        if (!getter(force().get(), &result)) throw error(NIXLANG_TYPE, std::string("the value is not ") + wanted);
        return result;
    }
    static value part(nixlang_value *found, const std::string &name) {
        if (!found) throw error(NIXLANG_MISSING_ATTRIBUTE, "'" + name + "' is missing");
        return value(found);
    }
    std::string text(nixlang_error *(*function)(const nixlang_value *, const nixlang_budget *, nixlang_bytes *), const budget &limits) const {
        nixlang_budget c = limits.to_c();
        nixlang_bytes bytes = {nullptr, 0};
        check(function(get(), &c, &bytes));
        return detail::take(bytes);
    }
    detail::owned<nixlang_value, nixlang_value_free> handle_;
};

// A store.
class store {
  public:
    explicit store(nixlang_store *handle) : handle_(handle, nixlang_store_free) {}
    explicit store(std::string_view address) : store(open(address)) {}
    nixlang_store *get() const { return handle_.get(); }
    std::string_view directory() const { return from_c(nixlang_store_directory(get())); }
    bool is_valid(std::string_view path) const {
        bool result = false;
        check(nixlang_store_is_valid(get(), to_c(path), &result));
        return result;
    }
    std::string add(std::string_view name, std::string_view contents) const {
        nixlang_bytes bytes = {nullptr, 0};
        check(nixlang_store_add_bytes(get(), to_c(name), to_c(contents), &bytes));
        return detail::take(bytes);
    }
    std::vector<std::string> closure(std::string_view path, int follow = 0) const {
        nixlang_paths *paths = nullptr;
        check(nixlang_store_closure(get(), to_c(path), follow, &paths));
        std::vector<std::string> copies;
        for (std::size_t i = 0; i < nixlang_paths_count(paths); i++) copies.emplace_back(from_c(nixlang_paths_at(paths, i)));
        nixlang_paths_free(paths);
        return copies;
    }

  private:
    static nixlang_store *open(std::string_view address) {
        nixlang_store *result = nullptr;
        check(nixlang_store_open(to_c(address), nullptr, &result));
        return result;
    }
    std::shared_ptr<nixlang_store> handle_;
};

// What engines are made with.
class config {
  public:
    config() : handle_(nixlang_config_new(), nixlang_config_free) {}
    config &set(std::string_view name, std::string_view value) {
        check(nixlang_config_set(handle_.get(), to_c(name), to_c(value)));
        return *this;
    }
    config &load() {
        check(nixlang_config_load(handle_.get()));
        return *this;
    }
    config &search_path(std::string_view entry) {
        check(nixlang_config_add_search_path(handle_.get(), to_c(entry)));
        return *this;
    }
    config &use(const store &store) {
        check(nixlang_config_set_store(handle_.get(), store.get()));
        return *this;
    }
    nixlang_config *get() const { return handle_.get(); }

  private:
    std::shared_ptr<nixlang_config> handle_;
};

// A heap with an evaluator.
class engine {
  public:
    engine() : engine(nullptr) {}
    explicit engine(const config &config) : engine(config.get()) {}
    nixlang_engine *get() const { return handle_.get(); }

    value evaluate(std::string_view text, const budget &limits = {}, std::string_view base_directory = "/") const {
        nixlang_budget c = limits.to_c();
        return make(nixlang_evaluate, to_c(text), to_c(base_directory), &c);
    }
    value evaluate_file(std::string_view path, const budget &limits = {}) const {
        nixlang_budget c = limits.to_c();
        return make(nixlang_evaluate_file, to_c(path), &c);
    }
    value from_json(std::string_view text) const { return make(nixlang_evaluate_json, to_c(text)); }

    value null() const { return make(nixlang_make_null); }
    value boolean(bool it) const { return make(nixlang_make_bool, it); }
    value integer(std::int64_t it) const { return make(nixlang_make_int, it); }
    value floating(double it) const { return make(nixlang_make_float, it); }
    value string(std::string_view it) const { return make(nixlang_make_string, to_c(it), nullptr, std::size_t(0)); }
    value path(std::string_view it) const { return make(nixlang_make_path, to_c(it)); }
    value list(const std::vector<value> &elements) const {
        std::vector<const nixlang_value *> handles;
        for (const value &element : elements) handles.push_back(element.get());
        return make(nixlang_make_list, handles.data(), handles.size());
    }
    value attrs(const std::vector<std::pair<std::string, value>> &attributes) const {
        std::vector<nixlang_string> names;
        std::vector<const nixlang_value *> handles;
        for (const auto &[name, value] : attributes) {
            names.push_back(to_c(name));
            handles.push_back(value.get());
        }
        return make(nixlang_make_attrs, names.data(), handles.data(), handles.size());
    }

    // A function of the host: takes its arguments as values, returns a value or throws.
    value function(std::string_view name, std::size_t n_arguments, std::function<value(const std::vector<value> &)> body) const {
        auto call = [](void *data, nixlang_value *const *arguments, std::size_t count, nixlang_value **result) -> nixlang_error * {
            return detail::guarded([&] {
                std::vector<value> owned;
                for (std::size_t i = 0; i < count; i++) owned.emplace_back(nixlang_value_retain(arguments[i]));
                *result = (*static_cast<std::function<value(const std::vector<value> &)> *>(data))(owned).release();
            });
        };
        auto drop = [](void *data) { delete static_cast<std::function<value(const std::vector<value> &)> *>(data); };
        auto *data = new std::function<value(const std::vector<value> &)>(std::move(body));
        return make(nixlang_make_function, to_c(name), n_arguments, static_cast<nixlang_function>(call), static_cast<void *>(data), static_cast<void (*)(void *)>(drop));
    }
    // Makes a lambda such as [](const value &a, const value &b) { … } a builtin.
    template <std::size_t N, typename F> void add_builtin(std::string_view name, F body) const {
        auto spread = [body = std::move(body)](const std::vector<value> &arguments) { return apply(body, arguments, std::make_index_sequence<N>()); };
        add_builtin(name, function(name, N, std::move(spread)));
    }
    void add_builtin(std::string_view name, const value &it) const { check(nixlang_engine_add_builtin(get(), to_c(name), it.get())); }

    nixlang_statistics statistics() const {
        nixlang_statistics result = NIXLANG_STATISTICS_INIT;
        check(nixlang_engine_statistics(get(), &result));
        return result;
    }

  private:
    explicit engine(const nixlang_config *config) {
        nixlang_engine *result = nullptr;
        check(nixlang_engine_new(config, &result));
        handle_ = std::shared_ptr<nixlang_engine>(result, nixlang_engine_free);
    }
    template <typename F, std::size_t... I> static value apply(const F &body, const std::vector<value> &arguments, std::index_sequence<I...>) { return body(arguments[I]...); }
    template <typename F, typename... Arguments> value make(F function, Arguments... arguments) const {
        nixlang_value *result = nullptr;
        check(function(get(), arguments..., &result));
        return value(result);
    }
    std::shared_ptr<nixlang_engine> handle_;
};

// A lossless syntax tree. Nodes are nixlang_node, with the functions of nixlang/syntax.h.
class tree {
  public:
    explicit tree(std::string_view text) {
        nixlang_tree *result = nullptr;
        check(nixlang_parse(to_c(text), &result));
        handle_ = std::shared_ptr<nixlang_tree>(result, nixlang_tree_free);
    }
    nixlang_node root() const { return nixlang_tree_root(handle_.get()); }
    std::vector<std::string> errors() const {
        std::vector<std::string> messages;
        nixlang_syntax_error next;
        for (std::size_t i = 0; nixlang_tree_error(handle_.get(), i, &next); i++) messages.emplace_back(from_c(next.message));
        return messages;
    }
    // Calls function(node, depth) for each node and token, in the order of the text.
    template <typename F> void walk(F &&function) const { walk(root(), 0, function); }

  private:
    template <typename F> static void walk(nixlang_node node, int depth, F &function) {
        for (; !nixlang_node_is_null(node); node = nixlang_node_next_sibling(node)) {
            function(node, depth);
            walk(nixlang_node_first_child(node), depth + 1, function);
        }
    }
    std::shared_ptr<nixlang_tree> handle_;
};

} // namespace nixlang

#endif
