// Arrays aligned to cache lines: loading a vector that straddles two lines takes twice as long.
//
// They are zero-initialized by calloc, so the pages of a large one are only committed when they
// are first written: a gradient whose large arrays are computed block by block in other memory
// (see ops/dense.cpp) takes next to none.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace chainrule {

template <class T> struct AlignedAllocator {
    using value_type = T;
    static constexpr std::size_t LINE = 64;  // bytes
    AlignedAllocator() = default;
    template <class U> AlignedAllocator(const AlignedAllocator<U>&) {}

    T* allocate(std::size_t count) {
        void* const whole = std::calloc(1, count * sizeof(T) + LINE + sizeof(void*));
        if (!whole) throw std::bad_alloc();
        const auto first = reinterpret_cast<std::uintptr_t>(whole) + sizeof(void*);
        T* const at = reinterpret_cast<T*>((first + LINE - 1) / LINE * LINE);
        reinterpret_cast<void**>(at)[-1] = whole;
        return at;
    }
    void deallocate(T* at, std::size_t) { std::free(reinterpret_cast<void**>(at)[-1]); }
    template <class U> void construct(U*) {}  // calloc has zeroed it

    template <class U> bool operator==(const AlignedAllocator<U>&) const { return true; }
    template <class U> bool operator!=(const AlignedAllocator<U>&) const { return false; }
};

template <class T> using AlignedVector = std::vector<T, AlignedAllocator<T>>;

// Asks for pages of 2 MiB instead of 4 KiB, for arrays that are written as a whole: the addresses of
// small pages do not fit into a processor's tables when several such arrays are read at a time.
template <class T> void ask_for_large_pages(AlignedVector<T>& array) {
#if defined(__linux__)
    constexpr std::uintptr_t PAGE = 2 << 20;
    const auto at = reinterpret_cast<std::uintptr_t>(array.data());
    const auto from = (at + PAGE - 1) / PAGE * PAGE, to = (at + array.size() * sizeof(T)) / PAGE * PAGE;
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#endif
}

}  // namespace chainrule
