/* The Nix C API's functions, each at least once: what it does, and what it says to wrong arguments. Facts are those of 2.34. */
#include <nix_api_expr.h>
#include <nix_api_external.h>
#include <nix_api_flake.h>
#include <nix_api_main.h>
#include <nix_api_store.h>
#include <nix_api_value.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(it) do { if (!(it)) { fprintf(stderr, "line %d: %s (code %d: %s)\n", __LINE__, #it, nix_err_code(ctx), last()); exit(1); } } while (0)
#define OK(it) do { it; CHECK(nix_err_code(ctx) == NIX_OK); } while (0)
#define FAILS(code, it) do { it; CHECK(nix_err_code(ctx) == (code)); } while (0)

static nix_c_context *ctx;
static Store *store;
static EvalState *state;
static char text[65536];

static const char *last(void) {
    const char *message = nix_err_code(ctx) == NIX_OK ? NULL : nix_err_msg(NULL, ctx, NULL);
    return message ? message : "";
}

static void keep(const char *start, unsigned int n, void *data) {
    if (n >= sizeof text) n = sizeof text - 1;
    memcpy(text, start, n);
    text[n] = 0;
    if (start[n] != 0) abort();
    if (data) ++*(int *)data;
}

static nix_value *eval(const char *expression) {
    nix_value *value = nix_alloc_value(ctx, state);
    nix_expr_eval_from_string(ctx, state, expression, ".", value);
    return value;
}

static void util(void) {
    CHECK(!strcmp(nix_version_get(), "2.34.8"));
    OK(nix_libutil_init(ctx));
    FAILS(NIX_ERR_KEY, nix_setting_get(ctx, "no-such-setting", keep, NULL));
    OK(nix_setting_set(ctx, "cores", "3"));
    OK(nix_setting_get(ctx, "cores", keep, NULL));
    CHECK(!strcmp(text, "3"));
    FAILS(NIX_ERR_NIX_ERROR, nix_setting_set(ctx, "cores", "many"));
    OK(nix_setting_set(ctx, "extra-experimental-features", "flakes"));
    OK(nix_setting_set(ctx, "extra-experimental-features", "ca-derivations"));
    OK(nix_setting_get(ctx, "experimental-features", keep, NULL));
    CHECK(!strcmp(text, "flakes ca-derivations"));
    OK(nix_set_verbosity(ctx, NIX_LVL_DEBUG));
    FAILS(NIX_ERR_UNKNOWN, nix_set_verbosity(ctx, (nix_verbosity)99));
    OK(nix_init_plugins(ctx));
    OK(nix_set_log_format(ctx, "raw"));
    FAILS(NIX_ERR_UNKNOWN, nix_set_log_format(ctx, NULL));
    FAILS(NIX_ERR_NIX_ERROR, nix_set_log_format(ctx, "sideways"));
    CHECK(*(nix_err *)ctx == NIX_ERR_NIX_ERROR);
    nix_clear_err(ctx);
    CHECK(nix_err_code(ctx) == NIX_OK && !nix_err_msg(NULL, ctx, NULL));
    CHECK(nix_set_err_msg(ctx, NIX_ERR_KEY, "mine") == NIX_ERR_KEY && !strcmp(last(), "mine"));
    nix_c_context *other = nix_c_context_create();
    CHECK(nix_err_info_msg(other, ctx, keep, NULL) == NIX_ERR_UNKNOWN && nix_err_name(other, ctx, keep, NULL) == NIX_ERR_UNKNOWN);
    nix_c_context_free(other);
    nix_c_context_free(NULL);
}

static void got_path(nix_c_context *context, void *count, const StorePath *path) {
    (void)context;
    nix_store_path_name(path, keep, NULL);
    ++*(int *)count;
}

static void stop(nix_c_context *context, void *count, const StorePath *path) {
    (void)path;
    ++*(int *)count;
    nix_set_err_msg(context, NIX_ERR_UNKNOWN, "enough");
}

static void stores(const char *directory) {
    char root[4096];
    snprintf(root, sizeof root, "%s", directory);
    const char *pair[] = {"root", root}, **pairs[] = {pair, NULL};
    OK(nix_libstore_init_no_load_config(ctx));
    OK(store = nix_store_open(ctx, "local", pairs));
    FAILS(NIX_ERR_NIX_ERROR, CHECK(!nix_store_open(ctx, "no-such://", NULL)));
    OK(nix_store_get_uri(ctx, store, keep, NULL));
    CHECK(!strncmp(text, "local://?root=", 14));
    OK(nix_store_get_storedir(ctx, store, keep, NULL));
    CHECK(!strcmp(text, "/nix/store"));
    OK(nix_store_get_version(ctx, store, keep, NULL));
    CHECK(!strcmp(text, "2.34.8"));

    const char *json = "{\"version\":4,\"name\":\"n\",\"system\":\"x\",\"builder\":\"/b\",\"args\":[],\"env\":{\"out\":\"\"},\"inputs\":{\"drvs\":{},\"srcs\":[]},"
                       "\"outputs\":{\"out\":{}}}";
    nix_derivation *derivation, *copy;
    StorePath *path, *again;
    FAILS(NIX_ERR_NIX_ERROR, CHECK(!nix_derivation_from_json(ctx, store, "{")));
    OK(derivation = nix_derivation_from_json(ctx, store, json));
    OK(path = nix_add_derivation(ctx, store, derivation));
    CHECK(nix_store_is_valid_path(ctx, store, path));
    OK(copy = nix_store_drv_from_store_path(ctx, store, path));
    OK(nix_derivation_to_json(ctx, copy, keep, NULL));
    CHECK(strstr(text, "\"name\":\"n\""));
    OK(nix_derivation_to_json(ctx, copy, NULL, NULL));
    nix_derivation *clone = nix_derivation_clone(copy);
    nix_derivation_free(copy);
    nix_derivation_free(clone);
    nix_derivation_free(derivation);

    nix_store_path_hash_part hash;
    OK(nix_store_path_hash(ctx, path, &hash));
    OK(again = nix_store_create_from_parts(ctx, &hash, "n.drv!!", 5));
    CHECK(nix_store_is_valid_path(ctx, store, again));
    nix_store_path_free(again);
    FAILS(NIX_ERR_NIX_ERROR, CHECK(!nix_store_create_from_parts(ctx, &hash, "a b", 3)));
    char digits[33];
    OK(nix_store_real_path(ctx, store, path, keep, NULL));
    CHECK(strstr(text, root) == text);
    memcpy(digits, strstr(text, "/nix/store/") + 11, 32);
    digits[32] = 0;
    OK(again = nix_store_query_path_from_hash_part(ctx, store, digits));
    CHECK(again);
    nix_store_path_free(again);
    OK(again = nix_store_query_path_from_hash_part(ctx, store, "00000000000000000000000000000000"));
    CHECK(!again);
    FAILS(NIX_ERR_NIX_ERROR, nix_store_query_path_from_hash_part(ctx, store, "short"));
    FAILS(NIX_ERR_NIX_ERROR, nix_store_parse_path(ctx, store, "/elsewhere/x"));

    int count = 0;
    OK(nix_store_get_fs_closure(ctx, store, path, false, false, false, &count, got_path));
    CHECK(count == 1 && !strcmp(text, "n.drv"));
    count = 0;
    FAILS(NIX_ERR_UNKNOWN, nix_store_get_fs_closure(ctx, store, path, false, false, false, &count, stop));
    CHECK(count == 1);
    OK(nix_store_get_fs_closure(ctx, store, path, true, true, true, NULL, NULL));

    strcat(root, "-other");
    Store *other;
    OK(other = nix_store_open(ctx, "local", pairs));
    CHECK(!nix_store_is_valid_path(ctx, other, path));
    OK(nix_store_copy_path(ctx, store, other, path, false, false));
    CHECK(nix_store_is_valid_path(ctx, other, path));
    OK(nix_store_copy_closure(ctx, store, other, path));
    FAILS(NIX_ERR_UNKNOWN, nix_store_copy_path(ctx, NULL, other, path, false, false));
    FAILS(NIX_ERR_UNKNOWN, nix_store_copy_path(ctx, store, NULL, path, false, false));
    FAILS(NIX_ERR_UNKNOWN, nix_store_copy_path(ctx, store, other, NULL, false, false));
    nix_store_free(other);
    FAILS(NIX_ERR_UNKNOWN, nix_store_is_valid_path(ctx, other, path));
    StorePath *clone_of = nix_store_path_clone(path);
    nix_store_path_free(path);
    nix_store_path_free(path);
    CHECK(nix_store_is_valid_path(ctx, store, clone_of));
    nix_store_path_free(clone_of);
}

static void values(void) {
    nix_value *a = eval("{ b = 1; a = \"x\"; c = throw \"no\"; }"), *b, *c = nix_alloc_value(ctx, state);
    const char *name;
    CHECK(nix_get_type(ctx, a) == NIX_TYPE_ATTRS && nix_get_attrs_size(ctx, a) == 3);
    OK(b = nix_get_attr_byidx(ctx, a, state, 0, &name));
    CHECK(!strcmp(name, "a"));
    OK(nix_get_string(ctx, b, keep, NULL));
    CHECK(!strcmp(text, "x"));
    /* Where the reference ends the process there is an error. */
    FAILS(NIX_ERR_NIX_ERROR, nix_get_int(ctx, b));
    FAILS(NIX_ERR_NIX_ERROR, nix_get_list_size(ctx, b));
    nix_value_decref(ctx, b);
    FAILS(NIX_ERR_NIX_ERROR, CHECK(!nix_get_attr_byname(ctx, a, state, "c")));
    OK(b = nix_get_attr_byname_lazy(ctx, a, state, "c"));
    CHECK(nix_get_type(ctx, b) == NIX_TYPE_FAILED);
    OK(nix_err_code(ctx));
    nix_value_decref(ctx, b);
    FAILS(NIX_ERR_KEY, nix_get_attr_byname(ctx, a, state, "d"));
    FAILS(NIX_ERR_NIX_ERROR, nix_value_force_deep(ctx, state, a));
    OK(nix_err_info_msg(NULL, ctx, keep, NULL); nix_clear_err(ctx));
    CHECK(!strcmp(text, "no"));
    OK(nix_value_incref(ctx, a); nix_gc_incref(ctx, a); nix_gc_decref(ctx, a); nix_value_decref(ctx, a));
    nix_value_decref(ctx, a);
    FAILS(NIX_ERR_UNKNOWN, nix_value_decref(ctx, a));
    FAILS(NIX_ERR_UNKNOWN, nix_get_type(ctx, a));

    FAILS(NIX_ERR_UNKNOWN, nix_get_int(ctx, c));
    FAILS(NIX_ERR_UNKNOWN, nix_get_int(ctx, NULL));
    OK(nix_init_float(ctx, c, 1.5));
    CHECK(nix_get_float(ctx, c) == 1.5);
    FAILS(NIX_ERR_UNKNOWN, nix_init_null(ctx, c));
    nix_value_decref(ctx, c);

    ListBuilder *builder;
    OK(builder = nix_make_list_builder(ctx, state, 2));
    b = nix_alloc_value(ctx, state);
    c = nix_alloc_value(ctx, state);
    OK(nix_list_builder_insert(ctx, builder, 1, b));
    FAILS(NIX_ERR_UNKNOWN, nix_list_builder_insert(ctx, builder, 2, b));
    OK(nix_make_list(ctx, builder, c));
    nix_list_builder_free(builder);
    /* Initialised after it went into the list. */
    OK(nix_init_bool(ctx, b, true));
    nix_value *element;
    OK(element = nix_get_list_byidx(ctx, c, state, 1));
    CHECK(nix_get_bool(ctx, element));
    nix_value_decref(ctx, element);
    CHECK(!nix_get_list_byidx(ctx, c, state, 0));
    nix_value_decref(ctx, b);
    nix_value_decref(ctx, c);
    FAILS(NIX_ERR_UNKNOWN, nix_make_list_builder(ctx, state, (size_t)-1));
    nix_gc_now();
}

static int n_finalized;

static void finalize(void *object, void *data) {
    (void)object;
    *(int *)data += 1;
}

static void twice(void *data, nix_c_context *context, EvalState *evaluating, nix_value **args, nix_value *ret) {
    (void)data;
    if (nix_value_force(context, evaluating, args[0]) != NIX_OK) return;
    nix_init_int(context, ret, 2 * nix_get_int(context, args[0]));
}

static void print(void *self, nix_printer *printer) {
    nix_external_print(NULL, printer, self);
    nix_external_print(NULL, printer, "!");
}
static void type(void *self, nix_string_return *result) {
    (void)self;
    nix_set_string_return(result, "thing");
}
static void coerce(void *self, nix_string_context *context, int more, int copy, nix_string_return *result) {
    (void)more;
    (void)copy;
    nix_external_add_string_context(NULL, context, "/nix/store/00000000000000000000000000000000-x");
    nix_set_string_return(result, self);
}
static int equal(void *self, void *other) { return self == other; }
static void json(void *self, EvalState *evaluating, bool strict, nix_string_context *context, bool copy, nix_string_return *result) {
    (void)self;
    (void)evaluating;
    (void)strict;
    (void)context;
    (void)copy;
    nix_set_string_return(result, "{ \"k\": [ 1 ] }");
}

static int n_xml;
static void xml(void *self, EvalState *evaluating, int strict, int location, void *doc, nix_string_context *context, void *seen, int pos) {
    (void)self;
    (void)evaluating;
    (void)location;
    (void)seen;
    (void)pos;
    n_xml += strict;
    nix_external_add_string_context(NULL, context, "/nix/store/00000000000000000000000000000000-x");
    nix_external_print(NULL, doc, "<thing />");
}

static void call_to_string(const char *expression, nix_value *argument, const char *expected) {
    nix_value *function = eval(expression), *result = nix_alloc_value(ctx, state);
    OK(nix_value_call(ctx, state, function, argument, result));
    OK(nix_get_string(ctx, result, keep, NULL));
    CHECK(!strcmp(text, expected));
    nix_value_decref(ctx, function);
    nix_value_decref(ctx, result);
}

static void host(void) {
    nix_value *value = nix_alloc_value(ctx, state);
    nix_gc_register_finalizer(value, &n_finalized, finalize);
    nix_value_decref(ctx, value);
    CHECK(n_finalized == 1);

    PrimOp *primop;
    FAILS(NIX_ERR_UNKNOWN, nix_alloc_primop(ctx, NULL, 1, "x", NULL, NULL, NULL));
    FAILS(NIX_ERR_UNKNOWN, nix_alloc_primop(ctx, twice, 0, "x", NULL, NULL, NULL));
    const char *names[] = {"number", NULL};
    OK(primop = nix_alloc_primop(ctx, twice, 1, "twice", names, "doubles", NULL));
    OK(nix_register_primop(ctx, primop));
    nix_gc_decref(ctx, primop);
    EvalState *later;
    OK(later = nix_state_create(ctx, NULL, store));
    value = nix_alloc_value(ctx, later);
    OK(nix_expr_eval_from_string(ctx, later, "twice (builtins.twice 10) + 2", "/", value));
    CHECK(nix_get_int(ctx, value) == 42);
    nix_state_free(later);
    CHECK(nix_get_int(ctx, value) == 42);
    nix_value_decref(ctx, value);
    FAILS(NIX_ERR_UNKNOWN, nix_alloc_value(ctx, later));

    NixCExternalValueDesc desc = {print, type, type, coerce, equal, json, xml};
    ExternalValue *external;
    static char self[] = "self";
    OK(external = nix_create_external_value(ctx, &desc, self));
    CHECK(nix_get_external_value_content(ctx, external) == self);
    value = nix_alloc_value(ctx, state);
    OK(nix_init_external(ctx, value, external));
    nix_gc_decref(ctx, external);
    CHECK(nix_get_type(ctx, value) == NIX_TYPE_EXTERNAL);
    CHECK(nix_get_external_value_content(ctx, nix_get_external(ctx, value)) == self);
    CHECK(!nix_get_external_value_content(ctx, NULL));
    call_to_string("builtins.typeOf", value, "thing");
    call_to_string("x: builtins.toJSON [ x ]", value, "[{\"k\":[1]}]");
    call_to_string("x: \"<${x}>\"", value, "<self>");
    call_to_string("x: builtins.head (builtins.attrNames (builtins.getContext \"${x}\"))", value, "/nix/store/00000000000000000000000000000000-x");
    call_to_string("x: if builtins.match \".*\n    <thing />\n.*\" (builtins.toXML [ x ]) != null then \"written\" else builtins.toXML [ x ]", value, "written");
    CHECK(n_xml > 0);
    call_to_string("x: builtins.head (builtins.attrNames (builtins.getContext (builtins.toXML x)))", value, "/nix/store/00000000000000000000000000000000-x");
    call_to_string("x: if x == x then \"same\" else \"other\"", value, "same");
    nix_value_decref(ctx, value);
}

static void more(void) {
    nix_eval_state_builder *builder;
    OK(builder = nix_eval_state_builder_new(ctx, store));
    OK(nix_eval_state_builder_load(ctx, builder));
    const char *entries[] = {"here=/", NULL};
    OK(nix_eval_state_builder_set_lookup_path(ctx, builder, entries));
    FAILS(NIX_ERR_KEY, nix_eval_state_builder_set_setting(ctx, builder, "no-such", "1"));
    OK(nix_eval_state_builder_set_setting(ctx, builder, "max-call-depth", "20"));
    EvalState *small;
    OK(small = nix_eval_state_build(ctx, builder));
    nix_eval_state_builder_free(builder);
    nix_value *value = nix_alloc_value(ctx, small);
    OK(nix_expr_eval_from_string(ctx, small, "<here>", ".", value));
    CHECK(!strcmp(nix_get_path_string(ctx, value), "/"));
    FAILS(NIX_ERR_NIX_ERROR, nix_expr_eval_from_string(ctx, small, "let f = n: 1 + f n; in f 1", ".", value));
    CHECK(strstr(last(), "max-call-depth"));
    nix_value_decref(ctx, value);
    nix_state_free(small);

    nix_value *function = eval("{ a ? 1, b }: a + b"), *arguments = eval("{ b = 2; c = 3; }"), *result = nix_alloc_value(ctx, state);
    FAILS(NIX_ERR_NIX_ERROR, nix_value_auto_call_function(ctx, state, NULL, function, result));
    OK(nix_value_auto_call_function(ctx, state, arguments, function, result));
    OK(nix_value_force(ctx, state, result));
    CHECK(nix_get_int(ctx, result) == 3);
    nix_value_decref(ctx, function);
    nix_value_decref(ctx, arguments);
    nix_value_decref(ctx, result);

    value = eval("derivation { name = \"n\"; system = \"s\"; builder = \"b\"; }");
    StorePath *path;
    OK(path = nix_get_derivation(ctx, state, value, false));
    nix_store_path_name(path, keep, NULL);
    CHECK(!strcmp(text, "n.drv"));
    nix_store_path_free(path);
    nix_value_decref(ctx, value);
    value = eval("1");
    OK(path = nix_get_derivation(ctx, state, value, false));
    CHECK(!path);
    nix_value_decref(ctx, value);

    value = eval("builtins.toFile \"f\" \"contents\"");
    nix_realised_string *string;
    OK(string = nix_string_realise(ctx, state, value, false));
    CHECK(nix_realised_string_get_store_path_count(string) == 1 && !nix_realised_string_get_store_path(string, 1));
    CHECK(strlen(nix_realised_string_get_buffer_start(string)) == nix_realised_string_get_buffer_size(string));
    nix_realised_string_free(string);
    nix_value_decref(ctx, value);

    nix_fetchers_settings *fetchers;
    nix_flake_settings *flakes;
    OK(fetchers = nix_fetchers_settings_new(ctx));
    OK(flakes = nix_flake_settings_new(ctx));
    nix_flake_settings_free(flakes);
    nix_fetchers_settings_free(fetchers);
}

static void put(const char *directory, const char *name, const char *contents) {
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", directory, name);
    FILE *stream = fopen(file, "w");
    CHECK(stream && fputs(contents, stream) >= 0 && !fclose(stream));
}

static void flakes(const char *beside) {
    char directory[2048], other[4096];
    snprintf(directory, sizeof directory, "%s.flake", beside);
    snprintf(other, sizeof other, "%s.other", beside);
    CHECK(!mkdir(directory, 0755) && !mkdir(other, 0755));
    char source[8192];
    snprintf(source, sizeof source, "{ inputs.dep = { url = \"path:%s/nowhere\"; flake = false; }; outputs = { self, dep }: { word = builtins.readFile \"${dep}/word\"; }; }", other);
    put(directory, "flake.nix", source);
    put(other, "word", "found");
    nix_fetchers_settings *fetchers = nix_fetchers_settings_new(ctx);
    nix_flake_settings *settings = nix_flake_settings_new(ctx);
    nix_flake_reference_parse_flags *parse = nix_flake_reference_parse_flags_new(ctx, settings);
    nix_flake_lock_flags *lock = nix_flake_lock_flags_new(ctx, settings);
    nix_flake_reference *reference = NULL, *replacement = NULL;
    FAILS(NIX_ERR_NIX_ERROR, nix_flake_reference_and_fragment_from_string(ctx, fetchers, settings, parse, "./x", 3, &reference, keep, NULL));
    CHECK(!reference);
    OK(nix_flake_reference_parse_flags_set_base_directory(ctx, parse, directory, strlen(directory)));
    OK(nix_flake_reference_and_fragment_from_string(ctx, fetchers, settings, parse, ".#a.b", 5, &reference, keep, NULL));
    CHECK(!strcmp(text, "a.b"));
    char url[4200];
    snprintf(url, sizeof url, "path:%s", other);
    OK(nix_flake_reference_and_fragment_from_string(ctx, fetchers, settings, parse, url, strlen(url), &replacement, keep, NULL));
    FAILS(NIX_ERR_NIX_ERROR, nix_flake_lock_flags_add_input_override(ctx, lock, "", replacement));

    /* Without the feature there are no flakes. */
    nix_eval_state_builder *builder;
    EvalState *with_flakes, *without;
    OK(builder = nix_eval_state_builder_new(ctx, store));
    OK(nix_eval_state_builder_set_setting(ctx, builder, "experimental-features", ""));
    OK(without = nix_eval_state_build(ctx, builder));
    FAILS(NIX_ERR_NIX_ERROR, nix_flake_lock(ctx, fetchers, settings, without, lock, reference));
    nix_state_free(without);
    OK(nix_eval_state_builder_set_setting(ctx, builder, "experimental-features", "flakes"));
    OK(nix_flake_settings_add_to_eval_state_builder(ctx, settings, builder));
    OK(with_flakes = nix_eval_state_build(ctx, builder));
    nix_eval_state_builder_free(builder);
    OK(nix_flake_lock_flags_set_mode_check(ctx, lock));
    FAILS(NIX_ERR_NIX_ERROR, nix_flake_lock(ctx, fetchers, settings, with_flakes, lock, reference));
    OK(nix_flake_lock_flags_set_mode_write_as_needed(ctx, lock));
    /* An override is for this time: nothing is written. */
    OK(nix_flake_lock_flags_add_input_override(ctx, lock, "dep", replacement));
    nix_locked_flake *locked;
    nix_value *outputs, *word;
    OK(locked = nix_flake_lock(ctx, fetchers, settings, with_flakes, lock, reference));
    OK(outputs = nix_locked_flake_get_output_attrs(ctx, settings, with_flakes, locked));
    OK(word = nix_get_attr_byname(ctx, outputs, with_flakes, "word"));
    OK(nix_get_string(ctx, word, keep, NULL));
    CHECK(!strcmp(text, "found"));
    char lock_file[4096];
    snprintf(lock_file, sizeof lock_file, "%s/flake.lock", directory);
    CHECK(access(lock_file, F_OK));
    nix_value_decref(ctx, word);
    nix_value_decref(ctx, outputs);
    nix_locked_flake_free(locked);
    nix_state_free(with_flakes);
    nix_flake_reference_free(replacement);
    nix_flake_reference_free(reference);
    nix_flake_lock_flags_free(lock);
    nix_flake_reference_parse_flags_free(parse);
    nix_flake_settings_free(settings);
    nix_fetchers_settings_free(fetchers);
}

int main(int argc, char **argv) {
    (void)argc;
    ctx = nix_c_context_create();
    util();
    OK(nix_libexpr_init(ctx));
    stores(argv[1]);
    OK(state = nix_state_create(ctx, NULL, store));
    values();
    host();
    more();
    flakes(argv[1]);
    nix_state_free(state);
    nix_state_free(NULL);
    nix_store_free(store);
    nix_c_context_free(ctx);
    return 0;
}
