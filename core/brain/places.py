"""Town names in a text: known ones however they are spelt, unknown ones as they were written. Pure.

The list is for finding names and for putting slips right; whether a place exists is for the weather service to say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from core.brain.words import Said, listed, lower

NAME_CHARS_MAX = 80
"""Longest place name taken from a text."""
NAME_WORDS_MAX = 4
SLIP_CHARS_MIN = 5
"""Shorter names are never put right: too many words differ from them by one letter."""
TWO_SLIPS_CHARS_MIN = 8
"""From this length on, two slips are still the same name."""

KENYA = """
Nairobi Mombasa Kisumu Nakuru Eldoret Thika Malindi Kitale Garissa Kakamega Nyeri Machakos Meru Embu Lamu Naivasha
Nanyuki Kericho Kisii Bungoma Busia Voi Kilifi Diani Watamu Wajir Mandera Marsabit Isiolo Lodwar Maralal Narok Kajiado
Kitui Migori Siaya Webuye Kiambu Ruiru Limuru Karatina Nyahururu Gilgil Molo Athi_River Kitengela Ongata_Rongai Ngong
Namanga Homa_Bay Mumias Kapsabet Iten Ukunda Mtwapa Murang'a Kerugoya Chuka Mwingi Lokichoggio Kakuma Moyale Juja
Syokimau Karen Westlands Kilimani Nyali Bamburi Likoni Hola Taveta Kapenguria Bomet Nyamira Oyugis Kabarnet Emali
Makindu Wote
"""
AFRICA = """
Kampala Entebbe Jinja Gulu Mbarara Mbale Masaka Arua Lira Dar_es_Salaam Dodoma Arusha Mwanza Moshi Zanzibar Tanga
Morogoro Mbeya Kigoma Iringa Kigali Butare Gisenyi Bujumbura Gitega Addis_Ababa Dire_Dawa Mogadishu Hargeisa Kismayo
Djibouti Juba Khartoum Port_Sudan Asmara Lagos Abuja Kano Ibadan Port_Harcourt Enugu Accra Kumasi Dakar Abidjan
Bamako Ouagadougou Lomé Cotonou Freetown Monrovia Conakry Banjul Niamey Douala Yaoundé Libreville Kinshasa Lubumbashi
Goma Bukavu Luanda Lusaka Ndola Kitwe Livingstone Harare Bulawayo Lilongwe Blantyre Maputo Beira Gaborone Windhoek
Johannesburg Pretoria Durban Cape_Town Soweto Bloemfontein Maseru Mbabane Antananarivo Port_Louis Victoria Moroni
Cairo Alexandria Luxor Tunis Algiers Casablanca Rabat Marrakesh Fez Tangier Tripoli Nouakchott
"""
WORLD = """
London Manchester Birmingham Liverpool Edinburgh Glasgow Dublin Paris Lyon Marseille Nice Berlin Munich Hamburg
Frankfurt Cologne Amsterdam Rotterdam Brussels Geneva Zurich Vienna Rome Milan Venice Naples Madrid Barcelona Seville
Lisbon Porto Athens Istanbul Ankara Stockholm Oslo Copenhagen Helsinki Warsaw Kraków Prague Budapest Bucharest Sofia
Belgrade Kyiv Moscow Dubai Abu_Dhabi Sharjah Doha Riyadh Jeddah Mecca Medina Muscat Kuwait_City Manama Amman Beirut
Jerusalem Tel_Aviv Tehran Baghdad Karachi Lahore Islamabad Delhi New_Delhi Mumbai Bangalore Chennai Kolkata Hyderabad
Pune Ahmedabad Goa Kathmandu Colombo Dhaka Bangkok Phuket Hanoi Singapore Kuala_Lumpur Jakarta Bali Manila Hong_Kong
Beijing Shanghai Guangzhou Shenzhen Taipei Seoul Tokyo Osaka Kyoto Sydney Melbourne Brisbane Perth Adelaide Auckland
Wellington New_York Los_Angeles Chicago Houston Dallas Austin Miami Atlanta Boston Washington Seattle San_Francisco
San_Diego San_Jose Las_Vegas Denver Phoenix Philadelphia Minneapolis Detroit Orlando Toronto Vancouver Montreal
Ottawa Calgary Mexico_City Havana Kingston Bogotá Lima Quito Caracas Santiago Buenos_Aires Montevideo São_Paulo
Rio_de_Janeiro Brasília
"""
MORE = """
Oakland Sacramento Fresno Long_Beach Anaheim Santa_Monica Santa_Barbara Santa_Rosa Santa_Cruz San_Mateo Palo_Alto
Mountain_View Sunnyvale Fremont Berkeley Napa Petaluma Livermore Walnut_Creek Concord San_Rafael Rohnert_Park
Burlingame Bakersfield Riverside Pasadena Burbank Irvine Portland Eugene Salem Spokane Tacoma Boise Salt_Lake_City
Albuquerque Santa_Fe Tucson Scottsdale El_Paso San_Antonio Fort_Worth Oklahoma_City Tulsa Kansas_City St_Louis Omaha
Des_Moines Milwaukee Madison Indianapolis Columbus Cleveland Cincinnati Pittsburgh Buffalo Rochester Albany Brooklyn
Manhattan Queens Newark Jersey_City Hartford Providence Baltimore Richmond Norfolk Raleigh Charlotte Charleston
Savannah Jacksonville Tampa Fort_Lauderdale Key_West New_Orleans Baton_Rouge Memphis Nashville Louisville Knoxville
Birmingham Little_Rock Honolulu Anchorage Reno Quebec_City Halifax Winnipeg Edmonton Saskatoon Regina Hamilton London
Victoria Guadalajara Monterrey Cancun Tijuana Puebla Guatemala_City San_Salvador Tegucigalpa Managua San_Juan
Santo_Domingo Nassau Bridgetown Port_of_Spain Medellin Cali Cartagena Guayaquil La_Paz Asuncion Cordoba Rosario Recife
Salvador Fortaleza Porto_Alegre Curitiba Belo_Horizonte Leeds Sheffield Bristol Cardiff Belfast Newcastle Nottingham
Leicester Oxford Cambridge Brighton Bath York Aberdeen Cork Galway Antwerp Bruges Ghent The_Hague Utrecht Eindhoven
Luxembourg Bordeaux Toulouse Strasbourg Lille Nantes Montpellier Cannes Monaco Basel Bern Lausanne Salzburg Innsbruck
Graz Stuttgart Dusseldorf Leipzig Dresden Hanover Bremen Nuremberg Bonn Florence Turin Bologna Verona Pisa Palermo
Catania Bari Valencia Bilbao Malaga Granada Ibiza Palma Zaragoza Faro Gothenburg Malmö Bergen Aarhus Tampere Tallinn
Riga Vilnius Minsk Gdansk Wroclaw Poznan Brno Bratislava Ljubljana Zagreb Split Dubrovnik Sarajevo Skopje Tirana
Podgorica Thessaloniki Heraklion Santorini Mykonos Nicosia Larnaca Antalya Izmir Bodrum Tbilisi Yerevan Baku Tashkent
Almaty Astana Kabul Peshawar Rawalpindi Jaipur Agra Varanasi Lucknow Kanpur Nagpur Indore Kochi Thiruvananthapuram
Coimbatore Surat Amritsar Chandigarh Srinagar Patna Guwahati Pokhara Thimphu Malé Yangon Mandalay Chiang_Mai Pattaya
Krabi Vientiane Phnom_Penh Siem_Reap Ho_Chi_Minh_City Da_Nang Penang Langkawi Kota_Kinabalu Surabaya Bandung
Yogyakarta Medan Cebu Davao Macau Chengdu Chongqing Wuhan Xian Hangzhou Nanjing Tianjin Qingdao Busan Jeju Nagoya
Sapporo Fukuoka Hiroshima Nara Kobe Yokohama Gold_Coast Cairns Darwin Hobart Canberra Christchurch Queenstown Suva
Port_Elizabeth East_London Polokwane Nelspruit Kimberley Walvis_Bay Swakopmund Maun Kasane Mutare Nampula Pemba Tete
Mzuzu Zomba Chipata Kabwe Solwezi Kisangani Mbuji-Mayi Brazzaville Pointe-Noire Bangui N'Djamena Malabo Benin_City
Kaduna Calabar Jos Warri Uyo Owerri Tamale Cape_Coast Bobo-Dioulasso Kumba Bamenda Buea Garoua Bahir_Dar Gondar
Mekelle Hawassa Jimma Berbera Bosaso Garowe Wau Malakal Kassala Omdurman Aswan Giza Sharm_el_Sheikh Hurghada
Fort_Portal Kabale Soroti Hoima Musanze Rubavu Ngozi Bukoba Musoma Shinyanga Singida Tabora Songea Mtwara Lindi
Bagamoyo Karatu
"""
CODES = {
    "jfk": "New York", "lga": "New York", "ewr": "Newark", "lax": "Los Angeles", "sfo": "San Francisco",
    "ord": "Chicago",
    "atl": "Atlanta", "iad": "Washington", "dca": "Washington", "sea": "Seattle", "bos": "Boston", "mia": "Miami",
    "dfw": "Dallas", "iah": "Houston", "den": "Denver", "phx": "Phoenix", "yyz": "Toronto", "yvr": "Vancouver",
    "yul": "Montreal", "lhr": "London", "lgw": "London", "cdg": "Paris", "ams": "Amsterdam", "fra": "Frankfurt",
    "muc": "Munich", "zrh": "Zurich", "mxp": "Milan", "fco": "Rome", "bcn": "Barcelona", "cph": "Copenhagen",
    "osl": "Oslo", "dxb": "Dubai", "auh": "Abu Dhabi", "doh": "Doha", "jed": "Jeddah", "cai": "Cairo",
    "add": "Addis Ababa", "ebb": "Entebbe", "kgl": "Kigali", "jro": "Kilimanjaro", "znz": "Zanzibar", "mba": "Mombasa",
    "kis": "Kisumu", "edl": "Eldoret", "wil": "Nairobi", "jnb": "Johannesburg", "cpt": "Cape Town", "los": "Lagos",
    "abv": "Abuja", "acc": "Accra", "hkg": "Hong Kong", "nrt": "Tokyo", "hnd": "Tokyo", "icn": "Seoul",
    "pek": "Beijing",
    "pvg": "Shanghai", "bkk": "Bangkok", "kul": "Kuala Lumpur", "cgk": "Jakarta", "bom": "Mumbai", "blr": "Bangalore",
    "jkia": "Nairobi",
}  # fmt: skip
"""Airports by their IATA codes."""
OTHER_NAMES = {
    **CODES, "la": "Los Angeles", "l.a": "Los Angeles", "dc": "Washington", "d.c": "Washington",
    "vegas": "Las Vegas", "philly": "Philadelphia",
    "washington d.c": "Washington", "washington dc": "Washington", "district of columbia": "Washington",
    "ny": "New York", "new york city": "New York", "san fran": "San Francisco",
    "frisco": "San Francisco", "sd": "San Diego", "chi-town": "Chicago", "chitown": "Chicago", "nola": "New Orleans",
    "cdmx": "Mexico City", "kl": "Kuala Lumpur", "bengaluru": "Bangalore", "bombay": "Mumbai", "calcutta": "Kolkata",
    "saigon": "Ho Chi Minh City", "peking": "Beijing", "cologne": "Cologne", "pta": "Pretoria",
    "nbo": "Nairobi", "nbi": "Nairobi",
    "nairobery": "Nairobi", "msa": "Mombasa", "nax": "Nakuru", "nakuru city": "Nakuru",
    "eldy": "Eldoret", "mombasani": "Mombasa", "dar": "Dar es Salaam", "daressalaam": "Dar es Salaam",
    "addis": "Addis Ababa", "joburg": "Johannesburg", "jozi": "Johannesburg", "kla": "Kampala", "nyc": "New York",
    "sf": "San Francisco", "muranga": "Murang'a", "rongai": "Ongata Rongai", "lome": "Lomé", "yaounde": "Yaoundé",
    "bogota": "Bogotá", "sao paulo": "São Paulo", "krakow": "Kraków", "brasilia": "Brasília", "londoni": "London",
    "marrakech": "Marrakesh",
}  # fmt: skip
WORDS_TOO = listed(
    "nice goa karen hola dar nax lira victoria iten wote molo tanga fez add la los kis sea den bath york "
    "split reading cork mobile orange jos tete "
    "salem faro wau male nara ghent hamilton madison charlotte florence austin concord queens richmond "
    "albany regina buffalo surat davao "
    "ny sd dc kl hue bar van linda salvador santiago columbus"
)
"""Names that are words or people's names too: they count as towns only where a place is expected."""

NAMES: dict[str, str] = {
    **{lower(name.replace("_", " ")): name.replace("_", " ") for name in (KENYA + AFRICA + WORLD + MORE).split()},
    **OTHER_NAMES,
}
"""Every known name in lower case, and how it is written."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text, and where it stands there."""

    start: int
    end: int
    name: str


_WORDS = re.compile(r"[^\W\d_]+(?:['.-][^\W\d_]+)*")


TAIL = re.compile(
    r",? (?:(?:and|&) (?:the )?(?:montenegro|herzegovina|tobago|barbuda|principe|príncipe|nevis|caicos|grenadines"
    r"|miquelon|futuna|jan mayen|mcdonald islands|south sandwich islands)|of (?:the )?(?:columbia|man|congo|ireland"
    r"|tonga|georgia|moldova|india|benin|china|kenya|uganda|rwanda|burundi|south africa|america))\b"
)
"""How names go on that have an "and" or an "of" in them: Trinidad and Tobago, the District of Columbia."""


def known(said: Said) -> Place | None:
    """The first place of the list that is named in so many letters."""
    return next(iter(all_known(said)), None)


def all_known(said: Said) -> Iterator[Place]:
    """Every place of the list that is named in so many letters, in order; the longest name where several fit."""
    words = [(match[0], match.start(), match.end()) for match in _WORDS.finditer(said.plain)]
    passed = 0
    for index, (_, start, _) in enumerate(words):
        if start < passed:
            continue
        for count in range(min(3, len(words) - index), 0, -1):
            end = words[index + count - 1][2]
            name = said.plain[start:end].removesuffix("'s")
            if name in NAMES and name not in WORDS_TOO:
                yield Place(start, end, NAMES[name])
                passed = end
                break


def name(written: str) -> str:
    """A place as it should be called: the list's spelling for a known name or a slip of one, else as it was written."""
    tidy = " ".join(written.split())[:NAME_CHARS_MAX].strip(" ,.-?!'\"")
    head, comma, tail = tidy.partition(",")
    found = _right(lower(head.strip()))
    if found is None:
        return tidy
    return f"{found},{tail}" if comma else found


@lru_cache(maxsize=1024)
def _right(low: str) -> str | None:
    if low in NAMES:
        return NAMES[low]
    if len(low) < SLIP_CHARS_MIN or len(low) > NAME_CHARS_MAX:
        return None
    best, nearest = None, 3
    for known_name, shown in NAMES.items():
        if known_name[0] != low[0] or len(known_name) < SLIP_CHARS_MIN or abs(len(known_name) - len(low)) > 2:
            continue
        allowed = 2 if min(len(low), len(known_name)) >= TWO_SLIPS_CHARS_MIN else 1
        slips = distance(low, known_name, allowed)
        if slips <= allowed and slips < nearest:
            best, nearest = shown, slips
    return best


def distance(one: str, other: str, most: int) -> int:
    """How many letters must be put in, left out, changed or swapped to turn one into the other; most + 1 for more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        line = [row]
        for column, wanted in enumerate(other, start=1):
            cost = min(last[column] + 1, line[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        before, last = last, line
    return last[-1]
