"""Names say by themselves, all together, which encoding they have."""

import unicodedata

import pytest

from thawline.data.encodings import ANSI, OEM, decoded

SETS = {
    "gb18030": [
        *("苹果 香蕉 葡萄", "猫 狗", "正常 缺陷 划痕", "良性 恶性", "车 船"),
        *("水稻白叶枯病 健康叶片", "玫瑰 向日葵 郁金香", "训练集 测试集"),
        *("垃圾 塑料 纸板 玻璃 金属", "正品 次品"),
    ],
    "cp932": [
        *("りんご バナナ ぶどう", "犬 猫", "正常 異常", "桜 梅 表", "良品 不良品"),
        *("ひまわり チューリップ 薔薇", "傷あり 傷なし", "東京 大阪 京都"),
    ],
    "cp950": ["蘋果 香蕉 葡萄", "貓 狗", "正常 異常", "臺北 高雄"],
    "cp949": ["사과 바나나 포도", "고양이 강아지", "정상 불량", "개 고양이", "장미 해바라기 튤립"],
    "euc_jp": ["りんご バナナ"],
    "cp437": ["Äpfel Birnen Möhre", "Straße Fußgänger", "chêne érable tilleul"],
    "cp850": [
        *("chêne érable tilleul", "Österreich Übrige", "blåbær rødgrød", "maçã limão", "piña plátano"),
        "café",
        *("hêtre if", "Érable Chêne", "São_Paulo Brasília", "gård træ"),
    ],
    "cp1252": [
        *("chêne érable tilleul", "Äpfel Birnen Möhre", "Österreich Übrige", "blåbær rødgrød", "maçã limão"),
        *("café", "piña plátano", "hêtre if", "Érable Chêne", "Löwenzahn Gänseblümchen", "Fäule"),
        *("naïf maïs", "défaut sain"),
    ],
    "cp866": ["яблоко груша слива", "Кошка Собака", "брак норма", "ДЕФЕКТ НОРМА", "Берёза Дуб Ёлка"],
    "cp1251": ["яблоко груша слива", "Кошка Собака", "брак норма", "Берёза Дуб Ёлка", "здорові хворі"],
    "cp852": ["jabłko gruszka śliwka", "třešeň švestka", "alma körte szőlő", "dąb brzoza świerk"],
    "cp1250": ["jabłko gruszka śliwka", "třešeň švestka", "alma körte szőlő", "tölgy bükk kőris"],
    "cp1253": ["μήλο αχλάδι", "γάτα σκύλος"],
    "cp737": ["μήλο αχλάδι"],
    "cp1254": ["elma üzüm kayısı şeftali"],
    "cp857": ["elma üzüm kayısı şeftali"],
    "cp1255": ["חתול כלב"],
    "cp1256": ["قطة كلب"],
    "cp874": ["แมว หมา"],
}  # fmt: skip
"""Class folders as people of many countries have them. Two or three words are enough for these."""


def paths(words: list[str], encoding: str) -> list[bytes]:
    return [f"set/{word}/{number}.png".encode(encoding) for word in words for number in range(2)]


@pytest.mark.parametrize("encoding", SETS)
@pytest.mark.parametrize("candidates", [(*OEM, *ANSI), (*ANSI, *OEM)], ids=["zip", "tar"])
def test_class_names_come_back(encoding: str, candidates: tuple[str, ...]) -> None:
    for words in map(str.split, SETS[encoding]):
        names, _ = decoded(paths(words, encoding), candidates)
        assert [name.split("/")[1] for name in names[::2]] == words


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_what_decodes_as_utf8_is_utf8(form: str) -> None:
    for words in (["chêne", "érable"], ["苹果"], ["りんご"], ["사과"], ["яблоко"], ["🐈", "x"], ["oak"]):
        given = [unicodedata.normalize(form, name).encode() for name in words]
        assert decoded(given) == ([unicodedata.normalize(form, name) for name in words], "utf-8")


def test_a_name_that_is_utf8_by_chance_is_read_as_the_others_are() -> None:
    given = ["猫/1.png".encode("gbk"), "狗/1.png".encode("gbk")]
    assert given[0].decode() == "è/1.png"
    assert decoded(given) == (["猫/1.png", "狗/1.png"], "gb18030")


def test_a_few_foreign_names_among_utf8_are_read_apart() -> None:
    given = ["chêne/é.png".encode(), "érable/1.png".encode(), "hêtre/1.png".encode("cp1252")]
    assert decoded(given)[0] == ["chêne/é.png", "érable/1.png", "hêtre/1.png"]


def test_bytes_that_are_in_no_encoding_give_some_name_and_no_error() -> None:
    names, _ = decoded([b"\xff\xfe\x81\x8d\x8f\x90\x9d\xd2/1.png", b"ok/2.png"])
    assert names[1] == "ok/2.png"
    assert names[0].endswith("/1.png")


def test_ascii_says_nothing_and_needs_nothing() -> None:
    assert decoded([b"a/1.png"]) == (["a/1.png"], "utf-8")
    assert decoded([]) == ([], "utf-8")
