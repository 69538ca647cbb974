// Data parallelism: every thread runs the same code on its own share, with barriers in between.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "share.h"

namespace chainrule {

// Tells the processor that this thread spins.
inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

class Barrier {
  public:
    explicit Barrier(int threads) : threads_(threads), missing_(threads) {}

    void wait() {
        if (threads_ == 1) return;
        const int round = round_.load(std::memory_order_relaxed);
        if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            missing_.store(threads_, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        // The other threads arrive within microseconds, unless the system has preempted one: spin,
        // then yield.
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
            if (spins < SPINS) relax();
            else return stall(round);
    }

    int threads() const { return threads_; }
    // Seconds that threads have waited for a preempted one, each counted.
    double stalled() const { return double(stalled_.load(std::memory_order_relaxed)) * 1e-9; }

  private:
    static constexpr int SPINS = 2000;

    void stall(int round) {
        const auto start = std::chrono::steady_clock::now();
        while (round_.load(std::memory_order_acquire) == round) std::this_thread::yield();
        const auto waited = std::chrono::steady_clock::now() - start;
        stalled_.fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count(),
                           std::memory_order_relaxed);
    }
    const int threads_;
    alignas(64) std::atomic<int> missing_;
    alignas(64) std::atomic<int> round_{0};
    alignas(64) std::atomic<int64_t> stalled_{0};
};

// Whether so much of the time is lost in stalls that one thread would be faster than several: other
// programs want the cores. Measured over the last runs, since one may be short; but not in the first
// one, in which threads also wait for each other's memory to be given by the system.
class Stalls {
  public:
    using Clock = std::chrono::steady_clock;

    void begin() {
        start_ = Clock::now();
        if (elapsed_ > WINDOW) stalled_ = elapsed_ = 0;
        hindered_ = false;
    }
    // Looks at the clock only after a long stall.
    bool are_many(const Barrier& barrier) {
        if (is_first_) return false;
        const double stalled = stalled_ + barrier.stalled();
        if (!hindered_ && stalled > LEAST) hindered_ = stalled > SHARE * (elapsed_ + seconds());
        return hindered_;
    }
    void end(const Barrier& barrier) {
        if (is_first_) {
            is_first_ = false;
            return;
        }
        are_many(barrier);
        stalled_ = hindered_ ? 0 : stalled_ + barrier.stalled();
        elapsed_ = hindered_ ? 0 : elapsed_ + seconds();
    }
    bool hindered() const { return hindered_; }

  private:
    static constexpr double WINDOW = 0.2, LEAST = 0.01, SHARE = 0.3;

    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

    Clock::time_point start_;
    double stalled_ = 0, elapsed_ = 0;
    bool hindered_ = false, is_first_ = true;
};

// Threads that wait for the next work, for calls that take less time than starting threads: after
// each they spin for a while, then sleep.
class Workers {
  public:
    explicit Workers(int threads) : threads_(threads) {}
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;
    ~Workers() {
        if (team_ && team_->is_here()) delete team_;
    }

    // Runs work(t) for t = 0, ..., threads - 1 concurrently; thread 0 is the caller.
    template <class Work> void run(Work work) {
        if (threads_ == 1) return work(0);
        // A forked process has none of its parent's threads, and their lock in any state.
        if (!team_ || !team_->is_here()) team_ = new Team(threads_);
        team_->run([](void* what, int t) { (*static_cast<Work*>(what))(t); }, &work);
    }

  private:
    struct Team {
        typedef void (*Call)(void* what, int t);
        const int threads;

        explicit Team(int count) : threads(count) {
            for (int t = 1; t < threads; ++t) others_.emplace_back([this, t] { wait_for_work(t); });
        }
        ~Team() {
            announce(nullptr, nullptr);
            for (auto& other : others_) other.join();
        }
        bool is_here() const { return process_ == this_process(); }

        void run(Call call, void* what) {
            left_.store(threads - 1, std::memory_order_relaxed);
            announce(call, what);
            call(what, 0);
            for (int spins = 0; left_.load(std::memory_order_acquire) > 0; ++spins)
                if (spins < SPINS) relax();
                else std::this_thread::yield();
        }

      private:
        static constexpr int SPINS = 8000;  // some 100 microseconds

        void announce(Call call, void* what) {
            {
                const std::lock_guard<std::mutex> guard(lock_);
                call_ = call;
                what_ = what;
                round_.fetch_add(1, std::memory_order_release);
            }
            changed_.notify_all();
        }
        void wait_for_work(int t) {
            for (int round = 0;; ++round) {
                for (int spins = 0; spins < SPINS && round_.load(std::memory_order_acquire) == round; ++spins) relax();
                if (round_.load(std::memory_order_acquire) == round) {
                    std::unique_lock<std::mutex> guard(lock_);
                    changed_.wait(guard, [&] { return round_.load(std::memory_order_acquire) != round; });
                }
                if (!call_) return;
                call_(what_, t);
                left_.fetch_sub(1, std::memory_order_acq_rel);
            }
        }

        const long process_ = this_process();
        std::mutex lock_;
        std::condition_variable changed_;
        std::atomic<int> round_{0}, left_{0};
        Call call_ = nullptr;  // null: the end
        void* what_ = nullptr;
        std::vector<std::thread> others_;
    };
    const int threads_;
    Team* team_ = nullptr;

    static long this_process() {
#if defined(_WIN32)
        return 0;  // processes are not forked
#else
        return long(getpid());
#endif
    }
};

// Runs work(t) for t = 0, ..., threads - 1 concurrently; thread 0 is the caller.
template <class Work> void in_parallel(int threads, Work work) {
    std::vector<std::thread> others;
    others.reserve(threads > 0 ? threads - 1 : 0);
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (auto& other : others) other.join();
}

// Flushes subnormal numbers to zero on this thread while it lives: each costs a processor about a
// hundred cycles, and decaying moving averages are full of them.
class FlushSubnormals {
  public:
#if defined(__x86_64__)
    FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#endif
};

}  // namespace chainrule
