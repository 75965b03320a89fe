"""What models call our languages: by English name, by FLORES-200 code (NLLB). M2M-100 uses two letters as we do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    english: str
    flores: str
    """Three letters of ISO 639-3, an underscore, four of the script."""


_TABLE = """
af Afrikaans afr_Latn|am Amharic amh_Ethi|ar Arabic arb_Arab|az Azerbaijani azj_Latn|be Belarusian bel_Cyrl
bg Bulgarian bul_Cyrl|bn Bengali ben_Beng|bs Bosnian bos_Latn|ca Catalan cat_Latn|cs Czech ces_Latn
cy Welsh cym_Latn|da Danish dan_Latn|de German deu_Latn|el Greek ell_Grek|en English eng_Latn|es Spanish spa_Latn
et Estonian est_Latn|eu Basque eus_Latn|fa Persian pes_Arab|fi Finnish fin_Latn|fr French fra_Latn|ga Irish gle_Latn
gl Galician glg_Latn|gu Gujarati guj_Gujr|ha Hausa hau_Latn|he Hebrew heb_Hebr|hi Hindi hin_Deva|hr Croatian hrv_Latn
hu Hungarian hun_Latn|hy Armenian hye_Armn|id Indonesian ind_Latn|ig Igbo ibo_Latn|is Icelandic isl_Latn
it Italian ita_Latn|ja Japanese jpn_Jpan|jv Javanese jav_Latn|ka Georgian kat_Geor|kk Kazakh kaz_Cyrl
km Khmer khm_Khmr|kn Kannada kan_Knda|ko Korean kor_Hang|lb Luxembourgish ltz_Latn|lo Lao lao_Laoo
lt Lithuanian lit_Latn|lv Latvian lvs_Latn|mk Macedonian mkd_Cyrl|ml Malayalam mal_Mlym|mn Mongolian khk_Cyrl
mr Marathi mar_Deva|ms Malay zsm_Latn|mt Maltese mlt_Latn|my Burmese mya_Mymr|ne Nepali npi_Deva|nl Dutch nld_Latn
nn Nynorsk nno_Latn|no Norwegian nob_Latn|oc Occitan oci_Latn|pa Punjabi pan_Guru|pl Polish pol_Latn
ps Pashto pbt_Arab|pt Portuguese por_Latn|ro Romanian ron_Latn|ru Russian rus_Cyrl|sd Sindhi snd_Arab
si Sinhala sin_Sinh|sk Slovak slk_Latn|sl Slovenian slv_Latn|so Somali som_Latn|sq Albanian als_Latn
sr Serbian srp_Cyrl|su Sundanese sun_Latn|sv Swedish swe_Latn|sw Swahili swh_Latn|ta Tamil tam_Taml
te Telugu tel_Telu|th Thai tha_Thai|tl Tagalog tgl_Latn|tr Turkish tur_Latn|uk Ukrainian ukr_Cyrl|ur Urdu urd_Arab
uz Uzbek uzn_Latn|vi Vietnamese vie_Latn|xh Xhosa xho_Latn|yo Yoruba yor_Latn|zh Chinese zho_Hans|zu Zulu zul_Latn
ast Asturian ast_Latn|ceb Cebuano ceb_Latn
"""

LANGUAGES = {
    code: Names(english, flores)
    for line in _TABLE.strip().splitlines()
    for code, english, flores in (entry.split() for entry in line.split("|"))
}


def english_name(code: str) -> str:
    """Such as Spanish; for a regional code "pt-br" and an unknown one with the code, which is as well known."""
    known = LANGUAGES.get(code.partition("-")[0])
    if known is None:
        return f"the language with the code {code}"
    return known.english if "-" not in code else f"{known.english} ({code})"
