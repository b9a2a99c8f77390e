// What the examples share: what escapes from main is shown, not a crash.
#pragma once
#include <nixlang.hpp>
#include <iostream>

inline int shown(void (*body)()) {
    try {
        body();
        return 0;
    } catch (const nixlang::error &failed) {
        std::cerr << failed.render(NIXLANG_STYLE_RICH, true) << "\n";
    } catch (const std::exception &failed) {
        std::cerr << failed.what() << "\n";
    }
    return 1;
}
