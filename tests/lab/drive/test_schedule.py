"""Virtual time: order of time, then of asking; what a call asks for is done in its turn."""

from lab.drive.schedule import Schedule


def test_due_calls_run_in_order_of_time_then_of_asking():
    schedule, done = Schedule(100), []
    for name, at_ns in (("late", 300), ("first", 200), ("second", 200), ("past", 50)):
        schedule.at(at_ns, lambda name=name: done.append((name, schedule.now_ns)))
    schedule.run_until(250)
    assert done == [("past", 100), ("first", 200), ("second", 200)]
    assert schedule.now_ns == 250
    schedule.run_until(300)
    assert done[-1] == ("late", 300)


def test_what_a_call_asks_for_within_the_time_is_done_too():
    schedule, done = Schedule(0), []

    def again(left):
        done.append(schedule.now_ns)
        if left:
            schedule.at(schedule.now_ns + 10, again, left - 1)

    schedule.at(5, again, 3)
    schedule.run_until(25)
    assert done == [5, 15, 25]
    schedule.run_until(35)
    assert done == [5, 15, 25, 35]


def test_time_never_runs_back():
    schedule = Schedule(100)
    schedule.run_until(40)
    assert schedule.now_ns == 100
