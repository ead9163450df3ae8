import io

from rich.console import Console

from ptycho.report.table import doubts, no_better_than_flat, stage_table, worse_than_its_lift

ROWS = {
    "lift": {"seconds": 0.12, "phase_psnr": 18.61, "R": 0.089, "C": 0.918},
    "refined": {"seconds": 3.4, "phase_psnr": 40.16, "R": 0.064, "C": 0.963},
    "flat": {"phase_psnr": 12.98, "R": 0.1845, "C": 0.0, "amplitude_ssim": 0.5},
    "noise": {"phase_psnr": 41.2, "R": 0.066, "C": 0.962},
}


def printed(table, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def cells(table, heading):
    for column in table.columns:
        if str(column.header).replace("\n", " ") == heading:
            return list(column.cells)
    return None


def test_rows_in_order_and_the_floors_last_and_dim():
    table = stage_table(ROWS)
    assert cells(table, "stage") == ["lift", "refined", "flat", "noise"]
    assert [row.style for row in table.rows] == [None, None, "dim", "dim"]
    assert cells(table, "phase PSNR dB")[-2:] == ["13.0", "41.2"]


def test_the_best_of_a_column_is_bold():
    table = stage_table(ROWS)
    assert cells(table, "phase PSNR dB")[:2] == ["18.6", "[bold]40.2[/bold]"]
    # fitted noise earns a small R, so none is best
    assert cells(table, "R")[:2] == ["0.089", "0.064"]
    assert cells(table, "C")[:2] == ["0.918", "[bold]0.963[/bold]"]
    # neither is a short stage a good one
    assert cells(table, "seconds") == ["0.1", "3.4", "-", "-"]


def test_the_least_deviance_is_the_best():
    rows = {"lift": {"deviance": 0.5321}, "refined": {"deviance": 0.5319}, "flat": {}}
    assert cells(stage_table(rows), "held-out deviance") == ["[bold]0.532[/bold]"] * 2 + ["-"]
    rows["lift"]["deviance"] = 47.3412
    assert cells(stage_table(rows), "held-out deviance")[:2] == ["47.341", "[bold]0.532[/bold]"]


def test_large_numbers_need_no_fraction():
    rows = {"solver": {"deviance": 0.5}, "flat": {"deviance": 13694.352}}
    assert cells(stage_table(rows), "held-out deviance") == ["[bold]0.500[/bold]", "13694"]


def test_the_floors_are_never_the_best():
    table = stage_table({"lift": {"C": -0.2}, "flat": {"C": 0.0}, "noise": {"C": 0.9}})
    assert cells(table, "C") == ["[bold]-0.200[/bold]", "0.000", "0.900"]


def test_columns_without_a_value_are_left_out():
    rows = {"solver": {"R": 0.1, "C": float("nan")}, "flat": {"R": 0.2, "C": 0.0}}
    assert [str(column.header) for column in stage_table(rows).columns] == ["stage", "R"]


def test_nan_beside_values_is_a_dash():
    rows = {"lift": {"frc_half_bit_px": float("nan")}, "refined": {"frc_half_bit_px": 2.04}}
    assert cells(stage_table(rows), "FRC 1/2-bit px") == ["-", "[bold]2.0[/bold]"]


def test_a_full_table_fits_into_a_terminal():
    likeness = [f"{part}_{name}" for part in ("phase", "amplitude") for name in ("psnr", "ssim")]
    row = dict.fromkeys([*likeness, "frc_half_bit_px", "R", "C"], 0.1234)
    row |= {"seconds": 12345.6, "deviance": 12345678.9, "phase_psnr": 36.24, "C": -0.0123}
    text = printed(stage_table(dict.fromkeys(["network", "refined", "flat", "noise"], row)))
    assert "…" not in text
    assert text.count("0.123") == 3 * 4
    assert text.count(" 12345679 ") == text.count(" -0.012") == 4


def test_a_network_that_spoils_its_lift_is_named():
    lift, network = {"C": 0.875, "R": 0.1}, {"C": 0.871, "R": 0.1}
    said = worse_than_its_lift({"lift": lift, "network": network})
    assert said is not None
    assert "(C 0.871 < 0.875)" in said
    assert worse_than_its_lift({"lift": network, "network": lift}) is None
    assert worse_than_its_lift({"solver": lift}) is None


def test_a_truth_is_asked_before_the_frames():
    lift, network = {"C": 0.9, "phase_psnr": 20.0}, {"C": 0.8, "phase_psnr": 21.0}
    assert worse_than_its_lift({"lift": lift, "network": network}) is None


def test_a_difference_that_nobody_sees_is_not_announced():
    lift = {"C": 0.8644, "phase_psnr": 20.0}
    for key, worse, much_worse in (("C", 0.8636, 0.861), ("phase_psnr", 19.93, 19.8)):
        before, after, spoilt = ({key: value} for value in (lift[key], worse, much_worse))
        assert worse_than_its_lift({"lift": before, "network": after}) is None
        said = worse_than_its_lift({"lift": before, "network": spoilt})
        assert said is not None
        low, high = said.partition("(")[2].partition(")")[0].split(" < ")
        assert low.split()[-1] != high
    # a truth of constant phase has no PSNR
    nan = {"phase_psnr": float("nan")}
    assert worse_than_its_lift({"lift": nan | {"C": 0.9}, "network": nan | {"C": 0.8}}) is not None


def test_what_is_no_better_than_nothing_is_named():
    said = doubts(ROWS | {"refined": {"phase_psnr": 13.03, "C": 0.2}})
    assert len(said) == 1
    assert "(refined: phase PSNR 13.0, flat 13.0)" in said[0]
    flat = {"C": 0.0}
    said = no_better_than_flat({"network": {"C": -0.01}, "refined": {"C": 0.001}, "flat": flat})
    assert said is not None
    assert "(network: C -0.010, flat 0.000; refined: C 0.001, flat 0.000)" in said
    assert doubts(ROWS) == []
    assert no_better_than_flat({"solver": {"C": 0.003}, "flat": flat}) is None


def test_what_explains_little_of_measured_patterns_sends_to_the_doctor():
    rows = {"solver": {"C": 0.31}, "flat": {"C": 0.0}, "noise": {"C": 0.93}}
    (said,) = doubts(rows)
    assert said.startswith("C is 0.310 where photon noise allows 0.930: ")
    assert "ptycho doctor" in said
    assert doubts(rows | {"solver": {"C": 0.47}}) == []
    assert doubts(rows | {"noise": {"C": 0.6}}) == []
    # it is the last stage that counts; and where the truth is known, it is asked instead
    assert doubts({"lift": {"C": 0.2}} | rows | {"refined": {"C": 0.9}}) == []
    assert doubts(rows | {"solver": {"C": 0.31, "phase_psnr": 20.0}}) == []
    assert doubts({"solver": {"R": 0.1}, "flat": {"R": 0.2}}) == []


def test_patterns_held_out_send_to_the_doctor_too():
    rows = {"solver": {"C": 0.8}, "flat": {"C": 0.0, "deviance": 7.1}, "noise": {"deviance": 0.9}}
    for deviance, words in (
        (7.3, "patterns held out deviate by 7.300, from a flat object by 7.100: "),
        (6.9, None),
    ):
        said = doubts(rows | {"solver": {"C": 0.8, "deviance": deviance}})
        assert [one[: len(words or "")] for one in said] == ([words] if words else [])
    wild = rows | {"flat": {"C": 0.0, "deviance": 1e5}, "solver": {"C": 0.8, "deviance": 2489.2}}
    (said,) = doubts(wild)
    assert said.startswith("patterns held out deviate by 2489 where photon noise does by 0.900: ")
