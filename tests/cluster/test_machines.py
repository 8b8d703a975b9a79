"""What is said of the machines is short, and true."""

from dupwatchd.cluster.connection import why_not, why_silent
from dupwatchd.cluster.machines import Machines
from dupwatchd.cluster.reading import About


def states(machines: Machines) -> dict[str, str]:
    return {one["name"]: one["state"] for one in machines.document()["machines"]}


def test_a_machine_is_lost_with_its_last_worker_and_may_come_back() -> None:
    machines = Machines("tcp://127.0.0.1:1")
    machines.connected()
    for worker, name in (("a", "desk"), ("b", "desk"), ("c", "rack")):
        machines.joins(worker, name)
    machines.loses("a")
    assert states(machines) == {"desk": "reading", "rack": "reading"}
    machines.loses("b")
    machines.read("b", 7)  # a reply that was on its way
    assert states(machines) == {"desk": "lost", "rack": "reading"}
    line = machines.document()["line"]
    assert line.startswith("1 of 2 machines; 1 lost ")
    assert line.endswith(", its photos are read elsewhere")
    machines.joins("d", "desk")
    assert machines.document()["line"] == "2 of 2 machines"
    assert machines.document()["machines"][0]["files"] == 7


def test_who_does_not_come_back_in_the_next_connection_is_not_there() -> None:
    machines = Machines("tcp://127.0.0.1:1")
    machines.connected()
    machines.joins("a", "desk")
    machines.joins("b", "rack", "it has other decoders")
    machines.left("")
    assert machines.document()["line"] == "not in use: too few photos are pending to be worth it"
    machines.connected()
    machines.joins("a", "desk")
    assert machines.document()["line"] == "1 of 2 machines; 1 not there"
    machines.left("the scheduler is lost")
    assert machines.document()["line"] == "not in use: the scheduler is lost; photos are read on this machine"


def test_what_is_told_of_very_many_machines_is_bounded() -> None:
    machines = Machines("tcp://127.0.0.1:1")
    machines.connected()
    for number in range(1500):
        machines.joins(str(number), f"machine {number}")
        machines.loses(str(number))
    document = machines.document()
    assert len(document["machines"]) == 64
    assert document["total_machines"] <= 1000
    assert len(document["line"]) < 200


def test_why_a_machine_takes_no_part_is_told_in_words() -> None:
    about: About = {"name": "desk", "decoders": "a=1 b=2", "unseen": [], "clock": 0.0, "processors": 1}
    assert why_not(about, "a=1 b=2") == ""
    assert why_not(about, "a=1 b=3") == "it has b=2 where we have b=3"
    assert why_not(about, "a=1 b=2 c=3") == "it has nothing where we have c=3"
    assert why_silent(TimeoutError()) == "it does not answer within 10 s"
    assert why_silent(OSError("broken\npipe")) == "it does not say what it is (broken pipe)"
