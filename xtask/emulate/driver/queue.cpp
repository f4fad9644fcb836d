// The device works beside the host: kernels run on a thread of their own, in the order in which they were
// asked for, while the next one is compiled. All streams are this one.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "runtime.h"

namespace {
struct Queue {
    std::mutex lock;
    std::condition_variable changed;
    std::deque<std::function<void()>> waiting;
    bool busy = false;

    void work() {
        std::unique_lock<std::mutex> guard(lock);
        for (;;) {
            changed.wait(guard, [this] { return !waiting.empty(); });
            const auto next = std::move(waiting.front());
            waiting.pop_front();
            busy = true;
            guard.unlock();
            next();
            guard.lock();
            busy = false;
            changed.notify_all();
        }
    }
};

// Never destroyed: its thread runs until the process ends.
Queue &queue() {
    static Queue &it = *[] {
        Queue *made = new Queue;
        std::thread([made] { made->work(); }).detach();
        return made;
    }();
    return it;
}
}  // namespace

void enqueue(std::function<void()> work) {
    Queue &it = queue();
    const std::lock_guard<std::mutex> guard(it.lock);
    it.waiting.push_back(std::move(work));
    it.changed.notify_all();
}

void drain() {
    Queue &it = queue();
    std::unique_lock<std::mutex> guard(it.lock);
    it.changed.wait(guard, [&it] { return it.waiting.empty() && !it.busy; });
}
