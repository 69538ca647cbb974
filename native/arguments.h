// What Python hands over, checked once per call: a mistake there becomes a ValueError, not a read
// or a write out of bounds. Arrays are taken as they are, never converted: a converted copy would
// be gone before it is used. That parameters have readable room behind them (see ROOM in
// engine/native.py) is the one thing that can't be seen from here.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>

#include "engine.h"

namespace chainrule {

namespace nb = nanobind;

using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

inline void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

inline void require_length(const std::string& name, long length, long wanted) {
    require(length == wanted,
            name + " has the length " + std::to_string(length) + " instead of " + std::to_string(wanted));
}

// A writable vector of this very type and length; or, with `longer`, of at least this length.
template <class T>
T* vector_of(const nb::object& given, const std::string& name, long length, bool longer = false) {
    nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu> vector;
    require(nb::try_cast(given, vector, false),
            name + " must be a contiguous, writable vector of float" + std::to_string(8 * sizeof(T)));
    const long found = long(vector.shape(0));
    if (!longer || found < length) require_length(name, found, length);
    return vector.data();
}

template <class T> T* vector_or_none(const nb::object& given, const std::string& name, long length) {
    return given.is_none() ? nullptr : vector_of<T>(given, name, length);
}

// A single number that is counted on, or null.
template <class N> N* number_of(const nb::object& given, const std::string& name, bool wanted) {
    require(given.is_none() != wanted, name + (wanted ? " is missing" : " is not used by this stage"));
    if (!wanted) return nullptr;
    nb::ndarray<N, nb::ndim<0>, nb::device::cpu> number;
    require(nb::try_cast(given, number, false), name + " must be a writable array without axes, of the right type");
    return number.data();
}

inline Numbers numbers_of(const AnyArray& array, const std::string& name) {
    const nb::dlpack::dtype d = array.dtype();
    if (d == nb::dtype<float>()) return Numbers::float32;
    if (d == nb::dtype<double>()) return Numbers::float64;
    if (d == nb::dtype<uint8_t>()) return Numbers::uint8;
    if (d == nb::dtype<int32_t>()) return Numbers::int32;
    if (d == nb::dtype<int64_t>()) return Numbers::int64;
    throw std::invalid_argument(name + " has numbers of a type that can't be read");
}

// Samples along the first axis, each of them in one piece of `size` numbers.
inline Table table_of(const nb::object& given, const std::string& name, long size) {
    AnyArray array;
    require(nb::try_cast(given, array, false), name + " must be an array");
    require(array.ndim() >= 1, name + " has no axis of samples");
    Table table;
    table.data = static_cast<const char*>(array.data());
    table.type = numbers_of(array, name);
    table.count = long(array.shape(0));
    table.stride = long(array.stride(0)) * long(array.itemsize());
    table.size = 1;
    for (size_t k = array.ndim(); k-- > 1;) {
        require(array.shape(k) < 2 || table.count == 0 || array.stride(k) == table.size,
                name + " does not hold each sample in one piece");
        table.size *= long(array.shape(k));
    }
    require(table.size == size, name + " has " + std::to_string(table.size) + " numbers a sample instead of " +
                                    std::to_string(size));
    return table;
}

// The input alone, in its own order.
template <class T> Data input_of(const Engine<T>& e, const nb::object& x) {
    Data data;
    data.x = table_of(x, "x", e.input_size());
    data.rows = data.x.count;
    return data;
}

// Samples, targets and weights, and which of them are taken: all row numbers are checked first.
template <class T>
Data data_of(const Engine<T>& e, const nb::object& x, const nb::object& y, const nb::object& weight,
             const nb::object& order) {
    Data data = input_of(e, x);
    data.y = table_of(y, "y", e.loss.target_width);
    require_length("y", data.y.count, data.x.count);
    if (!weight.is_none()) {
        data.weight = table_of(weight, "weight", 1);
        require_length("weight", data.weight.count, data.x.count);
    }
    if (order.is_none()) return data;
    nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> rows;
    require(nb::try_cast(order, rows, false), "order must be a contiguous vector of int64");
    data.order = rows.data();
    data.rows = long(rows.shape(0));
    uint64_t largest = 0;  // a negative row is larger than any count
    for (long k = 0; k < data.rows; ++k) largest = std::max(largest, uint64_t(data.order[k]));
    require(data.rows == 0 || largest < uint64_t(data.x.count), "order has a row that is not among the samples of x");
    return data;
}

}  // namespace chainrule
