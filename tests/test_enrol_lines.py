"""A CSV file and its folder: each row says as much as a line of JSON, and a wrong one says which column."""

from datetime import date

import pytest
from gallery_sample import number_of

from sentinel.core.consent import ConsentGiven, Giver
from sentinel.core.errors import DataError
from sentinel.enrol_lines import COLUMNS, read_rows, row_line

TODAY = date(2026, 11, 22)
HEAD = ",".join(COLUMNS)
CONSENT = "paper 7,self,2026-11-20,opening this gate,,yes"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("one.jpg", "a/1.JPG", "a/2.png", "a/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def lines(text, folder, encoding="utf-8"):
    return [row_line(row, folder, TODAY) for _, row in read_rows(text.encode(encoding), encoding)]


def test_a_row_says_what_a_line_says(folder):
    text = f"{HEAD}\r\n样本甲,{number_of(1)},one.jpg;a,{CONSENT},2027-12-31,no,2027-01-01\r\n"
    (line,) = lines(text, folder)
    assert line.consent == ConsentGiven(
        ref="paper 7", by=Giver.SELF, on=date(2026, 11, 20), purpose="opening this gate", keep_picture=True
    )
    assert line.pictures == tuple(str(folder / name) for name in ("one.jpg", "a/1.JPG", "a/2.png"))
    assert (line.allowed, line.valid_until, line.expires) == (False, date(2027, 12, 31), date(2027, 1, 1))


def test_empty_cells_and_empty_rows_say_nothing(folder):
    (line,) = lines(f"number,name,pictures\n\n{number_of(1)},样本甲,\n , ,\n", folder)
    assert (line.pictures, line.consent, line.allowed) == (None, None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_sheet_may_be_in_the_encodings_that_sheets_come_in(folder, encoding):
    (line,) = lines(f"name,number\n样本甲,{number_of(1)}\n", folder, encoding)
    assert line.name == "样本甲"


def test_rows_keep_the_numbers_of_their_lines():
    rows = read_rows(b'name,number\n"a\nb",1\n\nc,2\n', "utf-8")
    assert [number for number, _ in rows] == [3, 5]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("name,nubmer\n", "did you mean 'number'"),
        ("name,number,name\n", "twice"),
        ("name\n", "no column 'number'"),
        ("", "no column 'name'"),
        ('name,number\n"open,1\n', "quotes"),
        ("样本,number\n".encode("gbk"), "gb18030"),
    ],
)
def test_a_sheet_that_cannot_be_read_says_what_to_do(data, told):
    with pytest.raises(DataError, match=told):
        read_rows(data if isinstance(data, bytes) else data.encode(), "utf-8")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"x,{number_of(1)},../out.jpg,{CONSENT},,,", "outside the folder"),
        (f"x,{number_of(1)},/etc/passwd,{CONSENT},,,", "outside the folder"),
        (f"x,{number_of(1)},one.jpg,,,,,,,,,", "consent"),
        (f"x,{number_of(1)},one.jpg,paper 7,self,2026-11-20,,,,,,", "consent.purpose is missing"),
        (f"x,{number_of(1)},,,,,,,,,maybe,", "allowed: expected yes or no"),
        (f"x,{number_of(1)},one.jpg,{CONSENT},,,2026-11-21", "expires lies in the past"),
        (f"x,{number_of(1)},,,,,,,,,,,too many", "more cells"),
    ],
)
def test_a_row_is_refused_by_its_column(folder, row, told):
    with pytest.raises(DataError, match=told):
        lines(f"{HEAD}\n{row}\n", folder)


def test_a_folder_without_pictures_is_said(folder):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no picture"):
        lines(f"{HEAD}\nx,{number_of(1)},empty,{CONSENT},,,\n", folder)
