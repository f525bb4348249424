"""Public data sets are read as they are downloaded, or a hint of the refusal reads them."""

import re

import pytest

from scalelab.core.errors import DataError
from scalelab.datasets.request import request

GOWALLA = (
    "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
    "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n"
    "1\t2010-10-17T23:42:03Z\t30.2557309927\t-97.7633857727\t316637\n"
)
FOURSQUARE = (
    "470\t49bbd6c0\t4bf58dd8\tArt Store\t40.71\t-74.0\t-240\tTue Apr 03 18:00:09 +0000 2012\n"
    "470\t4c5cc7b4\t4bf58dd8\tBridge\t40.7\t-74.0\t-240\tTue Apr 03 18:00:08 +0000 2012\n"
)
CHECK_INS = (
    "50756\t4f5e3a72\tTue Apr 03 18:00:06 +0000 2012\t240\n"
    "190571\t4b4b87b5\tTue Apr 03 18:00:07 +0000 2012\t180\n"
)
EPINIONS = "  1  9  1  5  4  1000000010\n  1  8  1  5  4  1000000000\n  2  9  1  5  4  1000000020\n"
SESSIONS = (
    "SessionId\tItemId\tTime\n1\t21\t1396860669.277\n1\t22\t1396860849.868\n2\t23\t1396871797.6\n"
)
TAGS = "userID\tartistID\ttagID\ttimestamp\n2\t52\t13\t1238536800001\n2\t53\t15\t1238536800000\n"
PLAYS = "userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n"
BUYS = "42,2014-04-06T18:44:58.314Z,214,12462,1\n42,2014-04-06T18:44:58.313Z,215,10471,1\n"
VIEWS = "{};{};{};timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n1;NA;31331;31018;2016-05-09\n"
RETAIL = (
    "InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID,Country\r\n"
    "536365,85123A,6,12/13/2010 8:26,17850,United Kingdom\r\n"
    "536366,71053,6,12/1/2010 9:26,17850,United Kingdom\r\n"
)
GLOBO = (
    "user_id,session_id,session_start,click_article_id,click_timestamp\n"
    "0,1506825423271737,1506825423000,157541,1506826858020\n"
    "0,1506825423271737,1506825423000,68866,1506826828020\n"
)
KUAIRAND = (
    "user_id,video_id,date,hourmin,time_ms\n0,3783,20220421,600,1650489892345\n"
    "0,7531,20220421,600,1650489892145\n"
)
LAST_FM = (
    'u1\t2009-05-04T23:08:57Z\tm1\t"Weird Al" Yankovic\nu1\t2009-05-04T13:54:10Z\tm2\t"Heroes\n'
)


def histories(path, **settings):
    """The items of each user by the file's own ids."""
    reader = settings.pop("reader", None)
    found = request(path, reader, settings).load()
    assert found.find_original_ids is not None
    names = found.find_original_ids().tolist()
    ends = zip(found.offsets[:-1], found.offsets[1:], strict=True)
    return [[names[item - 1] for item in found.item_ids[start:end]] for start, end in ends]


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("online_retail.csv", RETAIL, [["71053", "85123A"]]),
        ("clicks.csv", GLOBO, [[68866, 157541]]),
        ("log_standard.csv", KUAIRAND, [[7531, 3783]]),
        ("ta_feng.csv", '"TRANSACTION_DT","CUSTOMER_ID","PRODUCT_ID"\n"11/13/2000","01104905","9"\n'
         '"11/1/2000","01104905","8"\n', [[8, 9]]),
    ],
)  # fmt: skip
def test_usual_names_are_enough(tmp_path, name, text, read):
    (tmp_path / name).write_text(text)
    assert histories(tmp_path / name) == read


@pytest.mark.parametrize(
    ("name", "text", "typed", "read"),
    [
        # Each row of `typed` follows the hint of the refusal before it.
        ("Gowalla_totalCheckins.txt", GOWALLA, [{"user": 1, "item": 5, "time": 2}],
         [[420315, 22847], [316637]]),
        ("dataset_TSMC2014_NYC.txt", FOURSQUARE,
         [{"reader": "table", "header": False, "user": 1, "item": 2, "time": 8}],
         [["4c5cc7b4", "49bbd6c0"]]),
        ("dataset_TIST2015_Checkins.txt", CHECK_INS,
         [{"reader": "table", "header": False, "user": 1, "item": 2, "time": 3}],
         [["4f5e3a72"], ["4b4b87b5"]]),
        ("rating_with_timestamp.txt", EPINIONS, [{"user": 1, "item": 2, "time": 6}], [[8, 9], [9]]),
        ("rsc15_train_full.txt", SESSIONS, [{"reader": "table"}], [[21, 22], [23]]),
        ("user_taggedartists-timestamps.dat", TAGS, [{"reader": "table"}], [[53, 52]]),
        ("user_artists.dat", PLAYS, [{"reader": "table"}], [[51, 52]]),
        ("train_triplets.txt", "b80\tSOAK\t13\nb80\tSOAP\t11\nb81\tSOAK\t2\n", [{"time": "order"}],
         [["SOAK", "SOAP"], ["SOAK"]]),
        ("yoochoose-buys.dat", BUYS,
         [{"reader": "table", "header": False, "user": 1, "item": 3, "time": 2}], [[215, 214]]),
        ("views.csv", VIEWS.format("session_id", "user_id", "item_id"), [{"reader": "sessions"}],
         [[31331, 81766]]),
        ("train-item-views.csv", VIEWS.format("sessionId", "userId", "itemId"),
         [{"reader": "sessions"}], [[31331, 81766]]),
        ("MicroLens-100k_pairs.tsv", "1\t9 10 11\n2\t3 4\n",
         [{"header": False, "user": 1, "item": 2}, {"reader": "sequences"}], [[9, 10, 11], [3, 4]]),
        ("plays.tsv", LAST_FM, [{"header": False, "user": 1, "item": 4, "time": 2},
         {"header": False, "user": 1, "item": 4, "time": 2, "quote": ""}],
         [['"Heroes', '"Weird Al" Yankovic']]),
        ("watched.csv", "user,item,date,start_time\n1,5,2020-01-01,2020-01-01 10:00\n"
         "1,6,2020-01-01,2020-01-01 09:00\n", [{"time": "start_time"}], [[6, 5]]),
    ],
)  # fmt: skip
def test_a_hint_that_is_typed_reads_the_file(tmp_path, name, text, typed, read):
    (tmp_path / name).write_text(text)
    settings: dict = {}
    for step in typed:
        with pytest.raises(DataError) as caught:
            histories(tmp_path / name, **settings)
        for key, value in step.items():
            if settings.get(key) != value:
                assert f"data.{key}" in caught.value.hint
                stated = key not in ("user", "item", "time") or value == "order"
                assert not stated or str(value).lower() in caught.value.hint.lower()
        settings = step
    assert histories(tmp_path / name, **settings) == read


@pytest.mark.parametrize(
    ("name", "text", "settings", "message", "hint"),
    [
        ("combined_data_1.txt", "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n", {},
         "below a line that names their item", "awk"),
        ("ml-1m.train.inter", "user_id:token\titem_id_list:token_seq\titem_id:token\n1\t2 3\t4\n",
         {"time": "order"}, "'item_id_list', what came before", "from which it was made"),
        ("train-purchases.csv", "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n"
         "150;18278;17100868;2016-05-06;16421;25911\n", {"reader": "sessions"},
         "is not a click log", '"table"'),
        ("behaviors.tsv", "1\tU1\t11/13/2019 9:05:58 AM\tN5 N4 N3\n"
         "2\tU9\t11/12/2019 6:11:30 PM\tN3 N6\n",
         {"header": False, "user": 2, "item": 4, "time": 3}, "several items",
         'data.items = "list"'),
        ("a.json", '{\n "user": 1,\n "item": 2\n}\n', {}, "several lines", "one object per"),
        ("excel.csv", "sep=;\nuser;item;time\n1;2;1600000000\n", {}, "'sep=;'", "remove this line"),
        ("a.csv", "\n\nuser,item,time\n1,2,1600000000\n", {}, "not the first line", "blank lines"),
        ("clock.csv", "user,item,date,time\n1,2,2020-01-02,10:23:11\n", {"time_format": "%H:%M:%S"},
         "time of day without a date", '["date", "time"]'),
        ("a.txt", GOWALLA, {"user": 1, "item": 5}, "time cannot be known", "data.time"),
        ("a.txt", "1 2 3\n", {"reader": "lines", "user": 1, "item": 1, "time": 3}, "would be words",
         "another"),
        ("a.txt", "1 2 1600000000\n", {"reader": "lines", "user": 4}, "not a place", "from 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_what_to_do(tmp_path, name, text, settings, message, hint):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        histories(tmp_path / name, **settings)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("user,item\n1,Half-Life 2\n1,2048 Deluxe 2\n", [["Half-Life 2", "2048 Deluxe 2"]]),
        ("user,item\n1,AB12 34\n1,AB12 35\n", [["AB12 34", "AB12 35"]]),
        ("user,item,date\n1,5,2020-01-02\n1,6,2020-01-01\n", [[6, 5]]),
        ("user,item,date,update_date\n1,5,20200102,20210102\n1,6,20200101,20210102\n", [[6, 5]]),
    ],
)
def test_what_seems_odd_and_is_clear_is_read(tmp_path, text, read):
    (tmp_path / "a.csv").write_text(text)
    assert histories(tmp_path / "a.csv") == read


def test_a_line_of_more_words_keeps_the_order_of_the_file_where_that_is_said(tmp_path):
    (tmp_path / "a.txt").write_text(GOWALLA)
    places = {"user": 1, "item": 5, "time": "order"}
    assert histories(tmp_path / "a.txt", **places) == [[22847, 420315], [316637]]
