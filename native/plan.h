// Where arrays lie in one piece of memory: those that are never needed at the same time may share a
// place.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "memory.h"
#include "share.h"

namespace chainrule {

template <class T> class Plan {
  public:
    // Array k, of `size` numbers, is needed at this time; only its first use has to know its size.
    void use(int k, long size, long time) {
        const auto [place, is_new] = arrays_.try_emplace(owner(k), Array{size, time, time, -1});
        if (is_new && !size) arrays_.erase(place);  // never written, so never needed
        else if (!is_new) {
            place->second.first = std::min(place->second.first, time);
            place->second.last = std::max(place->second.last, time);
        }
    }
    // Array k is the same as `of`.
    void share(int k, int of) { whole_[k] = owner(of); }

    bool has(int k) const { return arrays_.count(owner(k)) > 0; }
    long size() {
        place_all();
        return size_;
    }
    long place(int k) const { return arrays_.at(owner(k)).place; }

  private:
    struct Array {
        long size, first, last, place;
    };
    std::map<int, Array> arrays_;
    std::map<int, int> whole_;  // what an array is the same as
    long size_ = 0;

    int owner(int k) const {
        const auto found = whole_.find(k);
        return found == whole_.end() ? k : found->second;
    }

    // The largest first, each at the lowest place where none lies that is needed at the same time.
    void place_all() {
        if (size_) return;
        std::vector<Array*> all;
        for (auto& [k, array] : arrays_) all.push_back(&array);
        std::stable_sort(all.begin(), all.end(), [](Array* a, Array* b) { return a->size > b->size; });
        std::vector<Array*> placed;  // by place
        for (Array* const array : all) {
            long at = 0;
            for (const Array* other : placed)
                if (other->last >= array->first && other->first <= array->last && other->place < at + room(*array))
                    at = std::max(at, other->place + room(*other));
            array->place = at;
            size_ = std::max(size_, at + room(*array));
            placed.insert(std::upper_bound(placed.begin(), placed.end(), array,
                                           [](Array* a, Array* b) { return a->place < b->place; }),
                          array);
        }
    }

    // Whole cache lines, and numbers behind it that may be read.
    static long room(const Array& array) {
        constexpr long LINE = long(AlignedAllocator<T>::LINE / sizeof(T));
        return (array.size + PADDING + LINE - 1) / LINE * LINE;
    }
};

}  // namespace chainrule
