// Arrays that begin at the beginning of a cache line: a vector that lies across two lines takes twice as long to load.
//
// They begin as zeros, and memory of a large one is only taken where it is written to: a gradient that is used part by
// part, elsewhere, takes next to none.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace chainrule {

template <class T> struct ByLines {
    using value_type = T;
    static constexpr std::size_t LINE = 64;
    ByLines() = default;
    template <class U> ByLines(const ByLines<U>&) {}

    T* allocate(std::size_t count) {
        void* const whole = std::calloc(1, count * sizeof(T) + LINE + sizeof(void*));
        if (!whole) throw std::bad_alloc();
        const auto first = reinterpret_cast<std::uintptr_t>(whole) + sizeof(void*);
        T* const at = reinterpret_cast<T*>((first + LINE - 1) / LINE * LINE);
        reinterpret_cast<void**>(at)[-1] = whole;
        return at;
    }
    void deallocate(T* at, std::size_t) { std::free(reinterpret_cast<void**>(at)[-1]); }
    template <class U> void construct(U*) {}  // it is 0

    template <class U> bool operator==(const ByLines<U>&) const { return true; }
    template <class U> bool operator!=(const ByLines<U>&) const { return false; }
};

template <class T> using Lines = std::vector<T, ByLines<T>>;

}  // namespace chainrule
