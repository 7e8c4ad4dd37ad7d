"""Places the simulators know: towns of East Africa, the world's capitals and large cities, and a few namesakes."""

import math
from dataclasses import dataclass

EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True, slots=True)
class Place:
    """One town: geonames id, WGS 84 degrees, metres above the sea, IANA zone."""

    id: int
    name: str
    region: str
    country_code: str
    latitude: float
    longitude: float
    elevation_m: float
    zone: str
    population: int
    capital: bool
    other_names: tuple[str, ...]


COUNTRIES = {
    "AE": "United Arab Emirates", "AR": "Argentina", "AT": "Austria", "AU": "Australia", "BE": "Belgium",
    "BI": "Burundi",
    "BR": "Brazil", "CA": "Canada", "CD": "DR Congo", "CH": "Switzerland", "CL": "Chile", "CN": "China",
    "CO": "Colombia",
    "CZ": "Czechia", "DE": "Germany", "DJ": "Djibouti", "DK": "Denmark", "EG": "Egypt", "ES": "Spain",
    "ET": "Ethiopia",
    "FI": "Finland", "FR": "France", "GB": "United Kingdom", "GH": "Ghana", "GR": "Greece", "HK": "Hong Kong",
    "ID": "Indonesia", "IE": "Ireland", "IL": "Israel", "IN": "India", "IS": "Iceland", "IT": "Italy", "JP": "Japan",
    "KE": "Kenya", "KR": "South Korea", "MA": "Morocco", "MU": "Mauritius", "MW": "Malawi", "MX": "Mexico",
    "MY": "Malaysia", "MZ": "Mozambique", "NG": "Nigeria", "NL": "Netherlands", "NO": "Norway", "NP": "Nepal",
    "NZ": "New Zealand", "PE": "Peru", "PH": "Philippines", "PK": "Pakistan", "PL": "Poland", "PT": "Portugal",
    "QA": "Qatar", "RU": "Russia", "RW": "Rwanda", "SA": "Saudi Arabia", "SD": "Sudan", "SE": "Sweden",
    "SG": "Singapore",
    "SN": "Senegal", "SO": "Somalia", "SS": "South Sudan", "TH": "Thailand", "TR": "Türkiye", "TZ": "Tanzania",
    "UA": "Ukraine", "UG": "Uganda", "US": "United States", "VN": "Vietnam", "ZA": "South Africa", "ZM": "Zambia",
    "ZW": "Zimbabwe",
}  # fmt: skip

# id | name | region | country | latitude | longitude | elevation | zone | population | capital | other names
_TABLE = """
184745|Nairobi|Nairobi Area|KE|-1.28333|36.81667|1684|Africa/Nairobi|2750547|*|
186301|Mombasa|Mombasa|KE|-4.05466|39.66359|17|Africa/Nairobi|799668||Mvita
191245|Kisumu|Kisumu|KE|-0.10221|34.76171|1131|Africa/Nairobi|397957||
184622|Nakuru|Nakuru|KE|-0.30719|36.07225|1850|Africa/Nairobi|307990||
198629|Eldoret|Uasin Gishu|KE|0.52036|35.26993|2085|Africa/Nairobi|289380||
179330|Thika|Kiambu|KE|-1.03326|37.06933|1497|Africa/Nairobi|251407||
187968|Malindi|Kilifi|KE|-3.21799|40.11692|13|Africa/Nairobi|118265||
192067|Kitale|Trans Nzoia|KE|1.01572|35.00622|1890|Africa/Nairobi|106187||
197745|Garissa|Garissa|KE|-0.45275|39.64601|147|Africa/Nairobi|119696||
192900|Kericho|Kericho|KE|-0.36774|35.28314|2020|Africa/Nairobi|104282||
184379|Nanyuki|Laikipia|KE|0.00624|37.07398|1946|Africa/Nairobi|72813||
184433|Naivasha|Nakuru|KE|-0.71383|36.43261|1906|Africa/Nairobi|198444||
184570|Narok|Narok|KE|-1.07829|35.86012|1885|Africa/Nairobi|65430||Maasai Mara
189741|Lamu|Lamu|KE|-2.27169|40.90201|12|Africa/Nairobi|24525||
187896|Machakos|Machakos|KE|-1.52233|37.26521|1623|Africa/Nairobi|150041||
184188|Nyeri|Nyeri|KE|-0.42013|36.94759|1798|Africa/Nairobi|119353||
187585|Meru|Meru|KE|0.04626|37.65587|1582|Africa/Nairobi|80191||
189280|Lodwar|Turkana|KE|3.11911|35.59727|506|Africa/Nairobi|48316||
198476|Embu|Embu|KE|-0.53987|37.45743|1350|Africa/Nairobi|60673||
187231|Kakamega|Kakamega|KE|0.28422|34.75229|1535|Africa/Nairobi|91768||
178837|Voi|Taita Taveta|KE|-3.39605|38.55609|580|Africa/Nairobi|53353||
199037|Diani Beach|Kwale|KE|-4.31943|39.57479|10|Africa/Nairobi|62529||Diani|Ukunda
232422|Kampala|Central Region|UG|0.31628|32.58219|1223|Africa/Kampala|1680600|*|
232371|Entebbe|Central Region|UG|0.05620|32.47950|1180|Africa/Kampala|69958||
160263|Dar es Salaam|Dar es Salaam|TZ|-6.82349|39.26951|24|Africa/Dar_es_Salaam|5383728||Dar
160196|Dodoma|Dodoma|TZ|-6.17221|35.73947|1119|Africa/Dar_es_Salaam|410956|*|
161325|Arusha|Arusha|TZ|-3.36667|36.68333|1415|Africa/Dar_es_Salaam|416442||
148730|Zanzibar|Zanzibar Urban/West|TZ|-6.16394|39.19793|10|Africa/Dar_es_Salaam|403658||Zanzibar City|Unguja
202061|Kigali|Kigali|RW|-1.94995|30.05885|1567|Africa/Kigali|1132686|*|
425378|Bujumbura|Bujumbura Mairie|BI|-3.38193|29.36142|774|Africa/Bujumbura|331700||
344979|Addis Ababa|Addis Ababa|ET|9.02497|38.74689|2405|Africa/Addis_Ababa|2757729|*|Addis
53654|Mogadishu|Banaadir|SO|2.03711|45.34375|9|Africa/Mogadishu|2587183|*|Muqdisho
373303|Juba|Central Equatoria|SS|4.85165|31.58247|550|Africa/Juba|450000|*|
379252|Khartoum|Khartoum|SD|15.55177|32.53241|381|Africa/Khartoum|1974647|*|
223817|Djibouti|Djibouti|DJ|11.58901|43.14503|14|Africa/Djibouti|623891|*|
927967|Lilongwe|Central Region|MW|-13.96692|33.78725|1050|Africa/Blantyre|646750|*|
909137|Lusaka|Lusaka|ZM|-15.40669|28.28713|1277|Africa/Lusaka|1267440|*|
890299|Harare|Harare|ZW|-17.82772|31.05337|1492|Africa/Harare|1542813|*|
1040652|Maputo|Maputo City|MZ|-25.96553|32.58322|63|Africa/Maputo|1191613|*|
934154|Port Louis|Port Louis|MU|-20.16194|57.49889|20|Indian/Mauritius|155226|*|
2314302|Kinshasa|Kinshasa|CD|-4.32758|15.31357|312|Africa/Kinshasa|7785965|*|
2332459|Lagos|Lagos|NG|6.45407|3.39467|11|Africa/Lagos|15388000||
2352778|Abuja|FCT|NG|9.05785|7.49508|476|Africa/Lagos|590400|*|
2306104|Accra|Greater Accra|GH|5.55602|-0.19690|61|Africa/Accra|1963264|*|
2253354|Dakar|Dakar|SN|14.69370|-17.44406|22|Africa/Dakar|2476400|*|
360630|Cairo|Cairo|EG|30.06263|31.24967|23|Africa/Cairo|9606916|*|
2553604|Casablanca|Casablanca-Settat|MA|33.58831|-7.61138|27|Africa/Casablanca|3144909||
993800|Johannesburg|Gauteng|ZA|-26.20227|28.04363|1767|Africa/Johannesburg|2026469||Joburg
3369157|Cape Town|Western Cape|ZA|-33.92584|18.42322|25|Africa/Johannesburg|3433441||
964137|Pretoria|Gauteng|ZA|-25.74486|28.18783|1339|Africa/Johannesburg|1619438|*|
2643743|London|England|GB|51.50853|-0.12574|25|Europe/London|8961989|*|
6058560|London|Ontario|CA|42.98339|-81.23304|252|America/Toronto|346765||
2988507|Paris|Île-de-France|FR|48.85341|2.34880|42|Europe/Paris|2138551|*|
4717560|Paris|Texas|US|33.66094|-95.55551|183|America/Chicago|24782||
2950159|Berlin|Berlin|DE|52.52437|13.41053|74|Europe/Berlin|3426354|*|
2867714|Munich|Bavaria|DE|48.13743|11.57549|524|Europe/Berlin|1260391||München
3117735|Madrid|Madrid|ES|40.41650|-3.70256|665|Europe/Madrid|3255944|*|
3128760|Barcelona|Catalonia|ES|41.38879|2.15899|47|Europe/Madrid|1620343||
3169070|Rome|Lazio|IT|41.89193|12.51133|52|Europe/Rome|2318895|*|Roma
2267057|Lisbon|Lisbon|PT|38.71667|-9.13333|45|Europe/Lisbon|517802|*|Lisboa
2759794|Amsterdam|North Holland|NL|52.37403|4.88969|13|Europe/Amsterdam|741636|*|
2800866|Brussels|Brussels Capital|BE|50.85045|4.34878|28|Europe/Brussels|1019022|*|
2761369|Vienna|Vienna|AT|48.20849|16.37208|171|Europe/Vienna|1691468|*|Wien
2657896|Zurich|Zurich|CH|47.36667|8.55000|429|Europe/Zurich|341730||Zürich
2618425|Copenhagen|Capital Region|DK|55.67594|12.56553|14|Europe/Copenhagen|1153615|*|
2673730|Stockholm|Stockholm|SE|59.32938|18.06871|17|Europe/Stockholm|1515017|*|
3143244|Oslo|Oslo|NO|59.91273|10.74609|26|Europe/Oslo|580000|*|
658225|Helsinki|Uusimaa|FI|60.16952|24.93545|26|Europe/Helsinki|558457|*|
3413829|Reykjavik|Capital Region|IS|64.13548|-21.89541|37|Atlantic/Reykjavik|118918|*|
756135|Warsaw|Mazovia|PL|52.22977|21.01178|113|Europe/Warsaw|1702139|*|
3067696|Prague|Prague|CZ|50.08804|14.42076|202|Europe/Prague|1165581|*|
703448|Kyiv|Kyiv City|UA|50.45466|30.52380|187|Europe/Kyiv|2797553|*|Kiev
264371|Athens|Attica|GR|37.98376|23.72784|70|Europe/Athens|664046|*|
745044|Istanbul|Istanbul|TR|41.01384|28.94966|39|Europe/Istanbul|14804116||
524901|Moscow|Moscow|RU|55.75222|37.61556|144|Europe/Moscow|10381222|*|
2964574|Dublin|Leinster|IE|53.33306|-6.24889|17|Europe/Dublin|1024027|*|
292223|Dubai|Dubai|AE|25.07725|55.30927|24|Asia/Dubai|3790000||
290030|Doha|Baladiyat ad Dawhah|QA|25.28545|51.53096|10|Asia/Qatar|344939|*|
108410|Riyadh|Riyadh Region|SA|24.68773|46.72185|612|Asia/Riyadh|4205961|*|
281184|Jerusalem|Jerusalem|IL|31.76904|35.21633|786|Asia/Jerusalem|801000|*|
1275339|Mumbai|Maharashtra|IN|19.07283|72.88261|8|Asia/Kolkata|12691836||Bombay
1261481|New Delhi|Delhi|IN|28.63576|77.22445|212|Asia/Kolkata|317797|*|Delhi
1174872|Karachi|Sindh|PK|24.86080|67.01040|14|Asia/Karachi|11624219||
1283240|Kathmandu|Bagmati|NP|27.70169|85.32060|1317|Asia/Kathmandu|1442271|*|
1609350|Bangkok|Bangkok|TH|13.75398|100.50144|12|Asia/Bangkok|5104476|*|
1880252|Singapore|Singapore|SG|1.28967|103.85007|23|Asia/Singapore|5638700|*|
1642911|Jakarta|Jakarta|ID|-6.21462|106.84513|8|Asia/Jakarta|8540121|*|
1735161|Kuala Lumpur|Kuala Lumpur|MY|3.14120|101.68653|42|Asia/Kuala_Lumpur|1453975|*|
1701668|Manila|Metro Manila|PH|14.60420|120.98220|13|Asia/Manila|1600000|*|
1581130|Hanoi|Hanoi|VN|21.02450|105.84117|10|Asia/Bangkok|8053663|*|
1819729|Hong Kong|Hong Kong|HK|22.27832|114.17469|5|Asia/Hong_Kong|7491609||
1816670|Beijing|Beijing|CN|39.90750|116.39723|49|Asia/Shanghai|18960744|*|
1835848|Seoul|Seoul|KR|37.56600|126.97840|38|Asia/Seoul|10349312|*|
1850147|Tokyo|Tokyo|JP|35.68950|139.69171|44|Asia/Tokyo|8336599|*|
2147714|Sydney|New South Wales|AU|-33.86785|151.20732|58|Australia/Sydney|4627345||
2172517|Canberra|ACT|AU|-35.28346|149.12807|580|Australia/Sydney|367752|*|
2179537|Wellington|Wellington|NZ|-41.28664|174.77557|31|Pacific/Auckland|381900|*|
5128581|New York|New York|US|40.71427|-74.00597|10|America/New_York|8804190||New York City|NYC
4140963|Washington|District of Columbia|US|38.89511|-77.03637|7|America/New_York|689545|*|Washington DC|Washington, D.C.
5391959|San Francisco|California|US|37.77493|-122.41942|16|America/Los_Angeles|864816||
5368361|Los Angeles|California|US|34.05223|-118.24368|89|America/Los_Angeles|3971883||
4887398|Chicago|Illinois|US|41.85003|-87.65005|179|America/Chicago|2720546||
6167865|Toronto|Ontario|CA|43.70643|-79.39864|175|America/Toronto|2731571||
6094817|Ottawa|Ontario|CA|45.41117|-75.69812|71|America/Toronto|1017449|*|
3530597|Mexico City|Mexico City|MX|19.42847|-99.12766|2240|America/Mexico_City|12294193|*|
3688689|Bogotá|Bogota D.C.|CO|4.60971|-74.08175|2582|America/Bogota|7674366|*|Bogota
3936456|Lima|Lima|PE|-12.04318|-77.02824|154|America/Lima|7737002|*|
3871336|Santiago|Santiago Metropolitan|CL|-33.45694|-70.64827|556|America/Santiago|4837295|*|
3435910|Buenos Aires|Buenos Aires F.D.|AR|-34.61315|-58.37723|31|America/Argentina/Buenos_Aires|2891082|*|
3448439|São Paulo|São Paulo|BR|-23.54750|-46.63611|769|America/Sao_Paulo|10021295||Sao Paulo
"""


def _read(line: str) -> Place:
    id_, name, region, country, latitude, longitude, elevation, zone, population, capital, *names = line.split("|")
    return Place(
        int(id_), name, region, country, float(latitude), float(longitude), float(elevation), zone, int(population),
        bool(capital), tuple(n for n in names if n),
    )  # fmt: skip


PLACES = tuple(_read(line) for line in _TABLE.strip().splitlines())


def find(name: str, country_code: str = "") -> list[Place]:
    """Places of that name, or one that begins so (three letters at least); exact ones first, then the larger ones."""
    wanted = " ".join(name.casefold().split())
    if len(wanted) < 2:
        return []
    found: list[tuple[bool, int, Place]] = []
    for place in PLACES:
        names = [n.casefold() for n in (place.name, *place.other_names)]
        exact = wanted in names
        if (exact or (len(wanted) > 2 and any(n.startswith(wanted) for n in names))) and country_code in (
            "",
            place.country_code,
        ):
            found.append((not exact, -place.population, place))
    return [place for _, _, place in sorted(found, key=lambda entry: entry[:2])]


def nearest(latitude: float, longitude: float) -> tuple[Place, float]:
    """The closest known place, and how far away it is in kilometres."""
    place = min(PLACES, key=lambda p: _distance_km(latitude, longitude, p.latitude, p.longitude))
    return place, _distance_km(latitude, longitude, place.latitude, place.longitude)


def _distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    a, b, c, d = map(math.radians, (lat1, lon1, lat2, lon2))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(h)))
