// Arrays that begin at the beginning of a cache line: a vector that lies across two lines takes twice as long to load.
#pragma once

#include <new>
#include <vector>

namespace chainrule {

template <class T> struct ByLines {
    using value_type = T;
    static constexpr std::align_val_t LINE{64};
    ByLines() = default;
    template <class U> ByLines(const ByLines<U>&) {}
    T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), LINE)); }
    void deallocate(T* at, std::size_t) { ::operator delete(at, LINE); }
    template <class U> bool operator==(const ByLines<U>&) const { return true; }
    template <class U> bool operator!=(const ByLines<U>&) const { return false; }
};

template <class T> using Lines = std::vector<T, ByLines<T>>;

}  // namespace chainrule
