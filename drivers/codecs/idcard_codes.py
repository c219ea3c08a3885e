"""Call the code numbers on a card by their Chinese names: sex (GB/T 2261.1) and ethnic group (GB/T 3304).

Source: device-protocols 1.9. A code that is not in its table is shown as its number: programs disagree about 57 to 99,
and a card is never refused for its code.
"""

from collections.abc import Mapping
from types import MappingProxyType

SEXES: Mapping[str, str] = MappingProxyType({"0": "未知", "1": "男", "2": "女", "9": "未说明"})

_GROUPS = (
    "汉", "蒙古", "回", "藏", "维吾尔", "苗", "彝", "壮", "布依", "朝鲜", "满", "侗",
    "瑶", "白", "土家", "哈尼", "哈萨克", "傣", "黎", "傈僳", "佤", "畲", "高山", "拉祜",
    "水", "东乡", "纳西", "景颇", "柯尔克孜", "土", "达斡尔", "仫佬", "羌", "布朗", "撒拉", "毛南",
    "仡佬", "锡伯", "阿昌", "普米", "塔吉克", "怒", "乌孜别克", "俄罗斯", "鄂温克", "德昂", "保安", "裕固",
    "京", "塔塔尔", "独龙", "鄂伦春", "赫哲", "门巴", "珞巴", "基诺",
)  # fmt: skip
ETHNIC_GROUPS: Mapping[str, str] = MappingProxyType(
    {f"{code:02d}": name for code, name in enumerate(_GROUPS, start=1)} | {"97": "其他", "98": "外国血统中国籍人士"}
)


def sex_name(code: str) -> str:
    """Return the name of a sex code, the code itself when it is unknown."""
    return SEXES.get(code, code)


def ethnic_name(code: str) -> str:
    """Return the name of an ethnic-group code, the code itself when it is unknown."""
    return ETHNIC_GROUPS.get(code, code)
