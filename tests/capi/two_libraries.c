/* What happens when the reference's libnixstore is in the process too: `none`, or `global` or `local` and the file to load. Exits with 0 if both APIs
 * say what they must. */
#include <dlfcn.h>
#include <nix_api_store.h>
#include <nix_api_util.h>
#include <nixlang.h>
#include <stdio.h>
#include <string.h>

static int is_refusal(const char *text) { return text && strstr(text, "libnixstore") != NULL; }

int main(int argc, char **argv) {
    int is_alone = argc < 3;
    if (!is_alone && !dlopen(argv[2], RTLD_NOW | (strcmp(argv[1], "global") ? RTLD_LOCAL : RTLD_GLOBAL))) return fprintf(stderr, "%s\n", dlerror()), 2;

    nix_c_context *context = nix_c_context_create();
    nix_err code = nix_libstore_init(context);
    const char *message = code == NIX_OK ? NULL : nix_err_msg(NULL, context, NULL);
    fprintf(stderr, "Nix C API: %s\n", message ? message : "initialised");
    if (is_alone ? code != NIX_OK : !is_refusal(message)) return 3;
    if (!is_alone && nix_store_open(context, "dummy://", NULL) != NULL) return 4;
    nix_c_context_free(context);

    nixlang_store *store = NULL;
    nixlang_error *error = nixlang_store_open(nixlang_text("dummy://"), NULL, &store);
    fprintf(stderr, "own API: %s\n", error ? nixlang_error_message(error).data : "opened");
    if (is_alone ? error != NULL : !error || !is_refusal(nixlang_error_message(error).data)) return 5;
    nixlang_error_free(error);
    nixlang_store_free(store);
    return 0;
}
