// Validation of arguments from Python, once per call: a mistake becomes a ValueError, not an
// out-of-bounds access. Arrays are never converted: a converted copy would be freed before it is
// used. Only the readable padding behind the parameters (see PADDING in engine/native.py) can't be
// checked here.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <sstream>
#include <stdexcept>
#include <string_view>

#include "engine.h"

namespace chainrule {

namespace nb = nanobind;

using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

using Name = std::string_view;

// The message is put together only where it is needed: a prediction takes microseconds.
template <class... Parts> void require(bool condition, const Parts&... message) {
    if (condition) return;
    std::ostringstream whole;
    (whole << ... << message);
    throw std::invalid_argument(whole.str());
}

inline void require_length(Name name, long length, long wanted) {
    require(length == wanted, name, " has length ", length, ", expected ", wanted);
}

// The data of a writable vector of this dtype and length; with `longer`, of at least this length.
template <class T>
T* vector_of(const nb::object& argument, Name name, long length, bool longer = false) {
    nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu> vector;
    require(nb::try_cast(argument, vector, false),
            name, " must be a contiguous, writable vector of float", 8 * sizeof(T));
    const long size = long(vector.shape(0));
    if (!longer || size < length) require_length(name, size, length);
    return vector.data();
}

// The data of a writable array of this dtype and size, of any shape.
template <class T> T* array_of(const nb::object& argument, Name name, long size) {
    nb::ndarray<T, nb::c_contig, nb::device::cpu> array;
    require(nb::try_cast(argument, array, false),
            name, " must be a contiguous, writable array of float", 8 * sizeof(T));
    require_length(name, long(array.size()), size);
    return array.data();
}

template <class T> T* vector_or_none(const nb::object& argument, Name name, long length) {
    return argument.is_none() ? nullptr : vector_of<T>(argument, name, length);
}

// The address of a writable scalar, or null if the stage has none.
template <class N> N* number_of(const nb::object& argument, Name name, bool wanted) {
    require(argument.is_none() != wanted, name, wanted ? " is missing" : " is not used by this stage");
    if (!wanted) return nullptr;
    nb::ndarray<N, nb::ndim<0>, nb::device::cpu> number;
    require(nb::try_cast(argument, number, false),
            name, " must be a writable zero-dimensional array of the right dtype");
    return number.data();
}

inline Dtype dtype_of(const AnyArray& array, Name name) {
    const nb::dlpack::dtype d = array.dtype();
    if (d == nb::dtype<float>()) return Dtype::float32;
    if (d == nb::dtype<double>()) return Dtype::float64;
    if (d == nb::dtype<uint8_t>()) return Dtype::uint8;
    if (d == nb::dtype<int32_t>()) return Dtype::int32;
    if (d == nb::dtype<int64_t>()) return Dtype::int64;
    require(false, name, " has an unsupported dtype");
    return {};
}

// Samples along the first axis, each of `size` contiguous numbers.
inline SampleArray samples_of(const nb::object& argument, Name name, long size, long or_size = 0) {
    AnyArray array;
    require(nb::try_cast(argument, array, false), name, " must be an array");
    require(array.ndim() >= 1, name, " must have an axis of samples");
    SampleArray table;
    table.data = static_cast<const char*>(array.data());
    table.type = dtype_of(array, name);
    table.count = long(array.shape(0));
    table.stride = long(array.stride(0)) * long(array.itemsize());
    table.size = 1;
    for (size_t k = array.ndim(); k-- > 1;) {
        require(array.shape(k) < 2 || table.count == 0 || array.stride(k) == table.size,
                name, " must store each sample contiguously");
        table.size *= long(array.shape(k));
    }
    require(table.size == size || table.size == or_size, name, " has ", table.size, " numbers per sample, expected ", size);
    return table;
}

// The input alone, in order.
template <class T> Data input_of(const Engine<T>& e, const nb::object& x) {
    Data data;
    data.x = samples_of(x, "x", e.input_size());
    data.rows = data.x.count;
    return data;
}

// Samples, targets and weights, and the rows to take, all of which are checked.
template <class T>
Data data_of(const Engine<T>& e, const nb::object& x, const nb::object& y, const nb::object& weight,
             const nb::object& order) {
    Data data = input_of(e, x);
    data.y = samples_of(y, "y", e.target_size());
    require_length("y", data.y.count, data.x.count);
    if (!weight.is_none()) {
        data.weight = samples_of(weight, "weight", 1, e.positions());
        require_length("weight", data.weight.count, data.x.count);
    }
    if (order.is_none()) return data;
    nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> rows;
    require(nb::try_cast(order, rows, false), "order must be a contiguous vector of int64");
    data.order = rows.data();
    data.rows = long(rows.shape(0));
    uint64_t largest = 0;  // as an unsigned number a negative row is larger than any count
    for (long k = 0; k < data.rows; ++k) largest = std::max(largest, uint64_t(data.order[k]));
    require(data.rows == 0 || largest < uint64_t(data.x.count), "order has a row that is out of range");
    return data;
}

// What is watched: None, or (place, numbers, parts), which receive what Watch describes.
template <class T> Watch watch_of(const Engine<T>& e, const nb::object& argument, const Data& data, long batch) {
    Watch watch;
    if (argument.is_none()) return watch;
    nb::tuple own;
    require(nb::try_cast(argument, own, false) && own.size() == 3, "watch must be (place, numbers, parts) or None");
    require(nb::try_cast(own[0], watch.place, false) && 0 <= watch.place && watch.place < e.parameters(),
            "watch: there is no parameter at this place");
    require(e.can_watch(watch.place), "watch: what each sample adds to this parameter's gradient is not known");
    const long steps = data.rows / batch + (data.rows % batch != 0);
    watch.numbers = array_of<double>(own[1], "watch's numbers", steps * e.watched());
    watch.parts = vector_of<double>(own[2], "watch's parts", data.rows);
    return watch;
}

}  // namespace chainrule
