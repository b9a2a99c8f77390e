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
    // Names that may have been meant, best first.
    std::vector<std::string> suggestions() const {
        std::vector<std::string> names;
        for (std::size_t i = 0;; i++) {
            std::string_view name = from_c(nixlang_error_suggestion(handle_.get(), i));
            if (name.empty()) return names;
            names.emplace_back(name);
        }
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

namespace detail {
// As guarded, for callbacks that any thread may call: what escapes is told as an error of the store.
template <typename F> nixlang_error *guarded_on_any_thread(F &&body) noexcept {
    try {
        std::forward<F>(body)();
        return nullptr;
    } catch (const error &failed) {
        return nixlang_error_new(failed.code(), to_c(failed.what()));
    } catch (const std::exception &failed) {
        return nixlang_error_new(NIXLANG_STORE, to_c(failed.what()));
    } catch (...) {
        return nixlang_error_new(NIXLANG_STORE, to_c("an exception that is no std::exception"));
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

// What is known of a path in a store.
struct path_info {
    std::string nar_hash; // "sha256-…" or "sha256:…"
    std::uint64_t nar_size = 0;
    std::vector<std::string> references;
    std::string deriver; // or empty
    std::vector<std::string> signatures;
};

// A store that the host implements. Its functions may be called by several threads at once; what they throw is the error of whoever asked.
class custom_store {
  public:
    virtual ~custom_store() = default;
    // Returns what is known of a path, nothing if it is not there.
    virtual std::optional<path_info> query(std::string_view path) = 0;
    // Writes the NAR of a path, in as many pieces as it likes.
    virtual void write_nar(std::string_view path, const std::function<void(std::string_view)> &sink) = 0;
    // Keeps a path. A store that is only read has none of this.
    virtual void add_nar(std::string_view, const path_info &, std::string_view) { throw error(NIXLANG_UNSUPPORTED, "the store is only read"); }
    // Returns all paths, if it can tell.
    virtual std::vector<std::string> valid_paths() { throw error(NIXLANG_UNSUPPORTED, "the store cannot tell its paths"); }
};

namespace detail {
// A custom_store as functions of C; data is a std::shared_ptr to it.
struct store_functions {
    using shared = std::shared_ptr<custom_store>;
    static custom_store &of(void *data) { return **static_cast<shared *>(data); }

    static nixlang_error *query(void *data, nixlang_string path, void (*found)(void *, const nixlang_stored *), void *found_data) {
        return guarded_on_any_thread([&] {
            std::optional<path_info> info = of(data).query(from_c(path));
            if (!info) return;
            std::vector<nixlang_string> references, signatures;
            for (const std::string &it : info->references) references.push_back(to_c(it));
            for (const std::string &it : info->signatures) signatures.push_back(to_c(it));
            nixlang_stored stored = {to_c(info->nar_hash), info->nar_size, references.data(), references.size(), to_c(info->deriver), signatures.data(), signatures.size()};
            found(found_data, &stored);
        });
    }
    static nixlang_error *write_nar(void *data, nixlang_string path, nixlang_sink sink, void *sink_data) {
        return guarded_on_any_thread([&] { of(data).write_nar(from_c(path), [&](std::string_view bytes) { sink(sink_data, bytes.data(), bytes.size()); }); });
    }
    static nixlang_error *add_nar(void *data, nixlang_string path, const nixlang_stored *stored, nixlang_string nar) {
        return guarded_on_any_thread([&] {
            path_info info = {std::string(from_c(stored->nar_hash)), stored->nar_size, {}, std::string(from_c(stored->deriver)), {}};
            for (std::size_t i = 0; i < stored->n_references; i++) info.references.emplace_back(from_c(stored->references[i]));
            for (std::size_t i = 0; i < stored->n_signatures; i++) info.signatures.emplace_back(from_c(stored->signatures[i]));
            of(data).add_nar(from_c(path), info, from_c(nar));
        });
    }
    static nixlang_error *valid_paths(void *data, void (*path)(void *, nixlang_string), void *path_data) {
        return guarded_on_any_thread([&] {
            for (const std::string &it : of(data).valid_paths()) path(path_data, to_c(it));
        });
    }
    static void drop(void *data) { delete static_cast<shared *>(data); }
};
} // namespace detail

class config;

// A store.
class store {
  public:
    explicit store(nixlang_store *handle) : handle_(handle, nixlang_store_free) {}
    explicit store(std::string_view address) : store(open(address, nullptr)) {}
    inline store(std::string_view address, const config &config);
    // A store of the host, with an address for messages and a directory of paths (empty: /nix/store).
    static store custom(std::shared_ptr<custom_store> implementation, std::string_view address, std::string_view directory = "") {
        using functions = detail::store_functions;
        nixlang_store_functions table = {sizeof(nixlang_store_functions), functions::query, functions::write_nar, functions::add_nar, functions::valid_paths};
        nixlang_store *result = nullptr;
        auto *data = new std::shared_ptr<custom_store>(std::move(implementation));
        check(nixlang_store_new(&table, to_c(address), to_c(directory), data, functions::drop, &result));
        return store(result);
    }
    nixlang_store *get() const { return handle_.get(); }
    std::string_view directory() const { return from_c(nixlang_store_directory(get())); }
    std::string_view address() const { return from_c(nixlang_store_address(get())); }
    bool is_valid(std::string_view path) const {
        bool result = false;
        check(nixlang_store_is_valid(get(), to_c(path), &result));
        return result;
    }
    // What is known of a path, nothing if it is not valid.
    std::optional<path_info> info(std::string_view path) const {
        nixlang_path_info *handle = nullptr;
        check(nixlang_store_path_info(get(), to_c(path), &handle));
        if (!handle) return std::nullopt;
        detail::owned<nixlang_path_info, nixlang_path_info_free> found(handle);
        path_info info = {std::string(from_c(nixlang_path_info_nar_hash(handle))), nixlang_path_info_nar_size(handle), {}, std::string(from_c(nixlang_path_info_deriver(handle))), {}};
        for (std::size_t i = 0; !from_c(nixlang_path_info_reference(handle, i)).empty(); i++) info.references.emplace_back(from_c(nixlang_path_info_reference(handle, i)));
        for (std::size_t i = 0; !from_c(nixlang_path_info_signature(handle, i)).empty(); i++) info.signatures.emplace_back(from_c(nixlang_path_info_signature(handle, i)));
        return info;
    }
    std::string add(std::string_view name, std::string_view contents) const {
        nixlang_bytes bytes = {nullptr, 0};
        check(nixlang_store_add_bytes(get(), to_c(name), to_c(contents), &bytes));
        return detail::take(bytes);
    }
    std::vector<std::string> closure(std::string_view path, int follow = 0) const {
        nixlang_paths *paths = nullptr;
        check(nixlang_store_closure(get(), to_c(path), follow, &paths));
        return take(paths);
    }
    // Copies a path with all that it refers to, and returns what was copied.
    std::vector<std::string> copy_to(const store &to, std::string_view path) const {
        nixlang_paths *paths = nullptr;
        check(nixlang_store_copy(get(), to.get(), to_c(path), &paths));
        return take(paths);
    }

  private:
    static std::vector<std::string> take(nixlang_paths *paths) {
        detail::owned<nixlang_paths, nixlang_paths_free> owned(paths);
        std::vector<std::string> copies;
        for (std::size_t i = 0; i < nixlang_paths_count(paths); i++) copies.emplace_back(from_c(nixlang_paths_at(paths, i)));
        return copies;
    }
    static nixlang_store *open(std::string_view address, const nixlang_config *config) {
        nixlang_store *result = nullptr;
        check(nixlang_store_open(to_c(address), config, &result));
        return result;
    }
    std::shared_ptr<nixlang_store> handle_;
};

// What engines, stores and builds are made with.
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

inline store::store(std::string_view address, const config &config) : store(open(address, config.get())) {}

// Something that happened in a build; which fields count depends on the kind.
struct build_event {
    nixlang_event_kind kind;
    std::string derivation, text;
    std::size_t done = 0, total = 0, running = 0, failed = 0;
};

// What a build made.
struct build_output {
    std::string derivation, name, path;
};

// A build that runs; destroying it cancels it.
class build {
  public:
    // Starts to build "…-name.drv" (all outputs), "…-name.drv^out,doc" or a path that must be there.
    build(const store &in, const std::vector<std::string> &wanted) : build(in, wanted, nullptr) {}
    build(const store &in, const std::vector<std::string> &wanted, const config &config) : build(in, wanted, config.get()) {}

    // Takes the next event, waiting up to timeout_ms for it (negative: as long as it takes); nothing if there was none in time, or there are no more.
    std::optional<build_event> next(std::int64_t timeout_ms = -1) const {
        nixlang_event event;
        if (!nixlang_build_next_event(handle_.get(), timeout_ms, &event)) return std::nullopt;
        return build_event{event.kind, std::string(from_c(event.derivation)), std::string(from_c(event.text)), event.done, event.total, event.running, event.failed};
    }
    // Readable while events wait, for poll and its like.
    int descriptor() const { return nixlang_build_descriptor(handle_.get()); }
    void cancel() const { nixlang_build_cancel(handle_.get()); }
    // Waits for the end and returns what was made, or throws.
    std::vector<build_output> wait() const {
        check(nixlang_build_wait(handle_.get()));
        std::vector<build_output> outputs;
        nixlang_output output;
        for (std::size_t i = 0; nixlang_build_output(handle_.get(), i, &output); i++)
            outputs.push_back({std::string(from_c(output.derivation)), std::string(from_c(output.name)), std::string(from_c(output.path))});
        return outputs;
    }

  private:
    build(const store &in, const std::vector<std::string> &wanted, const nixlang_config *config) {
        std::vector<nixlang_string> paths;
        for (const std::string &path : wanted) paths.push_back(to_c(path));
        nixlang_build *result = nullptr;
        check(nixlang_build_start(in.get(), config, paths.data(), paths.size(), &result));
        handle_ = std::shared_ptr<nixlang_build>(result, nixlang_build_free);
    }
    std::shared_ptr<nixlang_build> handle_;
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

// What is wrong with a text, and where in bytes.
struct syntax_error {
    std::string message;
    std::uint32_t start = 0, end = 0;
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
    std::vector<syntax_error> errors() const {
        std::vector<syntax_error> found;
        nixlang_syntax_error next;
        for (std::size_t i = 0; nixlang_tree_error(handle_.get(), i, &next); i++) found.push_back({std::string(from_c(next.message)), next.start, next.end});
        return found;
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
