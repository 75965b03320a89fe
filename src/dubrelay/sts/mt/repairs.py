"""Repairs around Apertium's English-Spanish pair: what it is known to get wrong on air. Pure; data first.

Whole clauses that it cannot do are looked up; words that its parser misreads are replaced before; its own wrong words
are replaced after, only where the source holds the word that leads to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

Replacement = str | Callable[[re.Match[str]], str]
Edit = tuple[str, Replacement]
"""(pattern, replacement) as for re.sub."""


@dataclass(frozen=True)
class Repairs:
    clauses: dict[str, str]
    """Whole clauses, in lower case and without punctuation."""
    openings: dict[str, str]
    """How sentences begin, the same way; what follows is translated by itself."""
    before: tuple[Edit, ...]
    after: tuple[Edit, ...]
    words: tuple[tuple[str, str, Replacement], ...] = ()
    """(pattern in the source, pattern in the translation, replacement)."""
    numbers: tuple[Edit, ...] = ()
    stayed: dict[str, str] = field(default_factory=dict)
    """Words that the dictionary does not know and leaves as they are."""
    contracted: tuple[Edit, ...] = ()
    """Last of all."""
    marks: dict[str, str] = field(default_factory=dict)
    """What a sentence with this end begins with."""

    def prepared(self, clause: str) -> str:
        return _edited(clause, self.before)

    def repaired(self, translation: str, source: str) -> str:
        text = _edited(translation, _SPACING)
        if self.stayed:
            text = re.sub(r"\b[a-z]{4,}\b", lambda word: self.stayed.get(word[0], word[0]), text)
        text = _edited(text, (*self.numbers, *self.after))
        for here, wrong, right in self.words:
            if re.search(here, source, re.IGNORECASE):
                text = re.sub(wrong, right, text)
        return _edited(text, self.contracted)

    def finished(self, translation: str, source: str) -> str:
        """A whole sentence: a capital first, the marks its end asks for."""
        text = re.sub(r"\w", lambda m: m[0].upper(), _edited(translation, _SPACING), count=1)
        mark = self.marks.get(source[-1:], "")
        return text if text.startswith(mark) else mark + text


def _edited(text: str, edits: tuple[Edit, ...]) -> str:
    for pattern, replacement in edits:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def true_cased(text: str) -> str:
    """English as Apertium's dictionary wants it: I, names of days and months, a capital first."""
    text = re.sub(r"\bi\b(?=$|[\s',.?!])", "I", text)
    text = re.sub(_DAYS_AND_MONTHS, lambda m: m[0].capitalize(), text)
    return text[:1].upper() + text[1:]


def _swapped_separators(match: re.Match[str]) -> str:
    """1,250.5 <-> 1.250,5"""
    return match[0].translate(str.maketrans(".,", ",."))


def _clock(match: re.Match[str]) -> str:
    part = "mañana" if match[3] == "a" else "tarde" if int(match[2].split(":")[0]) in (12, *range(1, 8)) else "noche"
    return f"{match[1] or ''}{match[2]} de la {part}"


_SPACING: tuple[Edit, ...] = ((r"[*#@]", ""), (r"\s+", " "), (r"\s+([,.;:?!])", r"\1"))
_NUMBERS: tuple[Edit, ...] = ((r"\b\d{1,3}(?:[.,]\d{3})+(?:[.,]\d+)?\b|\b\d+[.,]\d{1,2}\b", _swapped_separators),)
_DAYS_AND_MONTHS = (
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
    r"|\b(?:january|february|april|june|july|august|september|october|november|december)\b"
)


def _money_said(match: re.Match[str]) -> str:
    """$250 million -> 250 million dollars"""
    return f"{match[0][1:].strip()} {({'$': 'dollars', '€': 'euros', '£': 'pounds'})[match[0][0]]}"


_LENGTHS = r"met(?:er|re)s|kilomet(?:er|re)s|feet|miles|inches"
_SIZES = {"long": "length", "high": "height", "tall": "height", "wide": "width", "deep": "depth"}
_HAS = {"is": "has ", "are": "have ", "was": "had ", "were": "had "}


def _measured(match: re.Match[str]) -> str:
    """is 9 metres long -> has 9 metres of length"""
    verb, number, unit, size = match.groups()
    return f"{_HAS.get((verb or '').lower(), '')}{number} {unit} of {_SIZES[size.lower()]}"


def _gaps(words: str, known: str) -> tuple[Edit, ...]:
    """Words that the dictionary lacks, and others that it has, in the same forms."""
    return tuple((rf"(?i)\b{word}\b", other) for word, other in zip(words.split(), known.split(), strict=True))


_GAPS: tuple[Edit, ...] = (
    *_gaps("depart departs departed departing", "exit exits exited exiting"),
    *_gaps("marches marched marching", "parades paraded parading"),
    *_gaps("oppose opposes opposed opposing", "reject rejects rejected rejecting"),
    *_gaps("grab grabs grabbed grabbing", "take takes took taking"),
    *_gaps("teammate teammates", "companion companions"),
    *_gaps("physician physicians incoming upcoming", "doctor doctors new next"),
    *((rf"(?i)\b{form} (?=(?:at|from|for) )", f"exit{ending} ") for form, ending in (("leaves", "s"), ("left", "ed"))),
)
_STAYED_ENGLISH = {
    "cloudy": "nublado",
    "overturned": "volcó",
    "foggy": "con niebla",
    "frosty": "helado",
    "humid": "húmedo",
    "rainfall": "lluvia",
    "overtime": "tiempo extra",
    "outbreak": "brote",
    "lineup": "alineación",
    "runway": "pista",
    "drone": "dron",
    "budget": "presupuesto",
    "pandemic": "pandemia",
    "healthcare": "sanidad",
    "midfielder": "centrocampista",
    "keeper": "portero",
    "playoff": "eliminatoria",
    "lawsuit": "demanda",
    "otherwise": "si no",
    "guaranteed": "garantizado",
    "sunrise": "amanecer",
    "breakthrough": "avance",
    "prosecutor": "fiscal",
    "physicist": "físico",
    "spotted": "visto",
    "unfortunate": "desafortunado",
    "default": "impago",
    "petition": "petición",
    "declaration": "declaración",
    "singles": "individuales",
}
"""What the dictionary does not know and leaves as it is."""
_STATES = (
    r"abiert[oa]s?|cerrad[oa]s?|vací[oa]s?|llen[oa]s?|list[oa]s?|soleado|nublado|despejado|cubierto|segur[oa]s? de"
    r"|dispuest[oa]s?|en|cerca|entre|fuera|dentro|detrás|delante|bajo|debajo|sobre"
)
_SEASONS = (
    "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre"
    "|primavera|verano|otoño|invierno"
)
_TO_BE = {"es": "está", "son": "están", "era": "estaba", "eran": "estaban", "será": "estará", "serán": "estarán"}
_UP_OR_DOWN = r"(?:[Aa]scen|[Ss]ub|[Cc]a[yeí]|[Cc]rec|[Aa]ument|[Bb]aj|[Dd]escend)\w*"


def _is_in_a_state(match: re.Match[str]) -> str:
    """es abierto -> está abierto, será en el norte -> estará en el norte; not: es en 1990"""
    verb = _TO_BE[match[1].lower()]
    return f"{verb.capitalize() if match[1][0].isupper() else verb}{match[2]}"


ENGLISH_TO_SPANISH = Repairs(
    clauses={
        "all right": "de acuerdo",
        "bye": "adiós",
        "come in": "pase",
        "come on": "vamos",
        "excuse me": "perdone",
        "good afternoon": "buenas tardes",
        "good evening": "buenas noches",
        "good luck": "buena suerte",
        "good morning": "buenos días",
        "good night": "buenas noches",
        "goodbye": "adiós",
        "how are you": "cómo está",
        "i'm sorry": "lo siento",
        "let's go": "vamos",
        "of course": "por supuesto",
        "oh my god": "dios mío",
        "ok": "de acuerdo",
        "okay": "de acuerdo",
        "please": "por favor",
        "see you": "hasta luego",
        "see you later": "hasta luego",
        "see you soon": "hasta pronto",
        "see you tomorrow": "hasta mañana",
        "sit down": "siéntese",
        "stay with us": "quédese con nosotros",
        "thank you for watching": "gracias por su atención",
        "thanks for watching": "gracias por su atención",
        "the evening news": "las noticias de la noche",
        "the morning news": "las noticias de la mañana",
        "the news": "las noticias",
        "well": "bueno",
        "what a goal": "qué gol",
        "wow": "guau",
        "you know": "sabe",
    },
    openings={
        "good afternoon and welcome to": "buenas tardes y bienvenidos a",
        "good evening and welcome to": "buenas noches y bienvenidos a",
        "good morning and welcome to": "buenos días y bienvenidos a",
        "welcome back to": "bienvenidos de nuevo a",
        "welcome to": "bienvenidos a",
    },
    before=(
        (r"…", "."),
        (r"[$€£] ?\d[\d.,]*(?: (?:thousand|(?:m|b|tr)illion))\b", _money_said),
        (r"(?<![\w-])(\d{1,3})-(\d{1,3})\b(?!-)", r"\1 to \2"),
        (rf"(?i)\b(?:(is|are|was|were) )?(\d[\d.,]*|\w+ty) ({_LENGTHS}) (long|high|tall|wide|deep)\b", _measured),
        (r"(?i)\bhalftime\b", "half time"),
        (r"(?i)\b(met(?:er|re)s|kilomet(?:er|re)s|miles) an hour\b", r"\1 per hour"),
        (r"(?i)\bpick(ed|s|ing)? up\b", r"collect\1"),
        (r"(?i)\bslow(ed|s|ing)? down\b", r"slow\1"),
        (r"(?i)\bburn(ed|s|ing)? down\b", r"burn\1"),
        (r"(?i)\bcome into force\b", "begin to apply"),
        (r"(?i)\bcomes into force\b", "begins to apply"),
        *_GAPS,
        (r"(?i)\blet(?:'s| us)\b", "we will"),
        (r"(?i)\bcan't\b", "cannot"),
        (r"(?i)\bwon't\b", "will not"),
        (r"(?i)\bgonna\b", "going to"),
        (r"(?i)\bwanna\b", "want to"),
        (r"(?i)\bgotta\b", "have to"),
        (r"(?i)\b'?cause\b(?= (?:i|we|he|she|it|they|you|the)\b)", "because"),
        (r"\b(in|of|since|until|last|next|this) March\b", r"\1 marzo"),
        (r"\b(in|of|since|until|last|next|this) August\b", r"\1 agosto"),
        (r"(?i)\b(the|my|his|her|our|their|a) (\w+) works (in|for|at|as|with)\b", r"\1 \2 is working \3"),
        (r"(?i)\btrain station\b", "railway station"),
        (r"(?i)\b(starts|begins|ends|opens|closes) (at|in|on|with)\b", lambda m: f"will {m[1][:-1]} {m[2]}"),
        (r"(?i)\bplans to\b", "wants to"),
        (r"(?i)\bunbelievable\b", "incredible"),
    ),
    after=(
        (
            rf"\b([Ee]s|[Ss]on|[Ee]ran?|[Ss]erán?)( (?:no |muy |ya |casi )?(?:{_STATES})\b)"
            rf"(?! (?:\d{{4}}|\w+ de \d{{4}}|{_SEASONS}))",
            _is_in_a_state,
        ),
        (rf"\b({_UP_OR_DOWN}) por (?=\d[\d.,]* (?:por ciento|%))", r"\1 un "),
        (rf"\b({_UP_OR_DOWN}) por (?=\d)", r"\1 "),
        (r"\ba (?=\d[\d.,]* (?:por ciento\b|%))", "al "),
        (r"\ben el fin de semana\b", "el fin de semana"),
        (r"\b(ha|han|había|habían) sido (?=\w+ndo\b)", r"\1 estado "),
        (r"\b([Aa])quí es (?=l[oa]s\b)", r"\1quí están "),
        (r"\bsacudieron manos\b", "se dieron la mano"),
        (r"\bcerca (?=(?:el|la|los|las|una?|su|sus|este|esta)\b)", "cerca de "),
        (r"\bcarta (amarilla|roja)\b", r"tarjeta \1"),
        (r"\b([Dd])e el\b(?! [A-Z])", r"\1el"),
        (r"\b([Aa]) el\b(?! [A-Z])", r"\1l"),
        (r"\b([Ee])l del (norte|sur|este|oeste)\b", r"\1l \2"),
        (r"\bEL\b", "el"),
        (r"\bLA\b", "la"),
        (r"\bLOS\b", "los"),
        (r"\bLAS\b", "las"),
        (r"(?<!^)(?<![.?!] )\b(Los|Las|La|El|Para)\b(?= [a-záéíóúñ])", lambda m: m[0].lower()),
        (r"\b([Qq])ué una? ", r"\1ué "),
        (r"\b[Aa]quello\b", "eso"),
        (r"\bcada cual\b", "cada uno"),
        (r"\bestuvo (?=\w+[ai]d[oa]\b)", "fue "),
        (r"\bestuvieron (?=\w+[ai]d[oa]s\b)", "fueron "),
        (r"\b(dos|tres|cuatro|cinco|seis|siete|ocho|nueve|cero) a un\b(?! [a-z])", r"\1 a uno"),
        (r"\ben (\d{1,2}:\d\d)\b", r"a las \1"),
        (r"\b(a las |las )?(\d{1,2}(?::\d\d)?) ?([ap])\.? ?m\b\.?(?= [a-zA-Z]|,|$)", _clock),
        (r"\b[Ee]s (\d{1,2}) en punto\b", r"son las \1 en punto"),
        (r"\ben (\d{1,2}) en punto\b", r"a las \1 en punto"),
        (r"\ben (\d{1,2}(?::\d\d)? de la (?:mañana|tarde|noche))\b", r"a las \1"),
        (r"\b(\d{1,2}):00\b", r"\1"),
        (r"\$ ?(\d[\d.,]*\d|\d)", r"\1 dólares"),
        (r"£ ?(\d[\d.,]*\d|\d)", r"\1 libras"),
        (r"€ ?(\d[\d.,]*\d|\d)", r"\1 euros"),
        (r"(\d) ?%", r"\1 %"),
        (r"\b(?:los )?EE\. ?UU\.?", "Estados Unidos"),
        (r"(?<=[a-z] )(Gracias)\b", lambda m: m[0].lower()),
    ),
    words=(
        (r"\boil\b", r"\bóleo\b", "petróleo"),
        (r"\brace\b", r"\braza\b", "carrera"),
        (r"\blast year\b(?! of)", r"(?<!el )\búltimo año\b", "el año pasado"),
        (r"\blast week\b", r"(?<!la )\búltima semana\b", "la semana pasada"),
        (r"\blast month\b(?! of)", r"(?<!el )\búltimo mes\b", "el mes pasado"),
        (
            r"\b(?:next|last|past) few (?:days|weeks|months|years)\b",
            r"\bel (próximo|último|pasado) pocos (días|meses|años)\b",
            r"los \1s \2",
        ),
        (r"\b(?:next|last|past) few weeks\b", r"\bla (próxima|última|pasada) pocas semanas\b", r"las \1s semanas"),
        (r"\b(?:in|last|next|this|of) (?:the )?spring\b", r"\bel muelle\b", "la primavera"),
        (r"\b(?:in|last|next|this|of) (?:the )?spring\b", r"\bmuelle\b", "primavera"),
        (r"\bgas\b", r"\bgasista\b", "gas"),
        (r"\bcapital\b(?! (?:gains|markets?|flows?|investment))", r"\b(a|de)l capital\b", r"\1 la capital"),
        (r"\bcapital\b(?! (?:gains|markets?|flows?|investment))", r"\bel capital\b", "la capital"),
        (r"\bheavy\b", r"\b(nieve|lluvias|niebla|nevadas) pesadas?\b", r"\1 intensa"),
        (r"\blanes\b", r"\bcaminos\b", "carriles"),
        (r"\bdates?\b(?! with)", r"\bcita(s?)\b", r"fecha\1"),
        (
            r"\bpart(?:y|ies)\b.*\b(?:elect|vot|parliament|coalition|leader|govern|polit|agree|minister|seats)",
            r"\b([Ll])as fiestas\b",
            r"\1os partidos",
        ),
        (
            r"\b(?:bought|sold|buys?|sells?|paid|pays?)\b.*\bfor\b",
            r"\bpara (?=[\w.,]+ (?:mil|millones|dólares|euros|libras)\b)",
            "por ",
        ),
        (r"\bdoubled\b", r"\bpleg(ó|aron)\b", r"se duplic\1"),
        (
            r"\b(?:lost|loses?)\b.*\bto\b",
            r"\b((?:per[dt]|pierd)\w+ [^.,]+?) a (?=(?:su|el|la|los|las|un|una)\b|[A-Z])",
            r"\1 ante ",
        ),
        (r"\bfrom \w+day\b", r"\bde (lunes|martes|miércoles|jueves|viernes|sábado|domingo)\b(?! a )", r"desde el \1"),
        (r"\buntil \w+day\b", r"\bhasta (?=(?:lunes|martes|miércoles|jueves|viernes|sábado|domingo)\b)", "hasta el "),
        (
            r"\b(?:team|league|coach|goal|club|match|player|champion|wins?|won)\b.*\bseason"
            r"|\bseasons?\b.*\b(?:team|league|coach|goal|club|match|player|champion)",
            r"\bestaci(ón|ones)\b",
            lambda m: "temporada" if m[1] == "ón" else "temporadas",
        ),
        (r"\btop of the table\b", r"\bla mesa\b", "la tabla"),
        (r"\btak(?:en|es?|ing)? .*\bto\b|\btook\b.*\bto\b", r"\btomad([oa]s?) a(?=l? )", r"llevad\1 a"),
        (r"\bto hospital\b", r"\ba hospital\b", "al hospital"),
        (r"\bhurt\b", r"\bdolid([oa]s?)\b", r"herid\1"),
        (r"\bspot\b", r"\b(?:la|el) algo\b", "el punto"),
        (r"\bhousing\b", r"\b(?:alojamiento|albergar)\b", "vivienda"),
        (
            r"\b(?:laws?|books?|reports?|debates?|votes?|tax|taxes|talks) on\b",
            r"\b((?:ley|leyes|libros?|informes?|debates?|votos?|impuestos?|conversaciones)(?: \w+)?) en\b",
            r"\1 sobre",
        ),
        (r"\bpercent\b", r"\b[Pp]orcentaje\b", "por ciento"),
        (r"\bpenalty\b(?! of)", r"\buna pena\b(?! de)", "un penalti"),
        (r"\bpenalty\b(?! of)", r"\b(?:de la|la) pena\b(?! de)", "el penalti"),
        (r"\bscor", r"\b([Pp])untu(?=[aáoó])", lambda m: "Marc" if m[1] == "P" else "marc"),
        (r"\bscor", r"\b([Pp])untu(?=é)", lambda m: "Marqu" if m[1] == "P" else "marqu"),
        (r"\bhome team\b", r"\b([Ee])quipo de [Cc]asa\b", r"\1quipo local"),
        (r"\bstrikers?\b", r"\bpercusor(es)?\b", lambda m: f"delantero{'s' if m[1] else ''}"),
        (r"\bball\b", r"\bla bola\b", "el balón"),
        (
            r"\bplay\w* (?:the|a|in the|their|its|his|her) (?:final|match|game|tournament|second|last|next|first)",
            r"\btoc(?=[aóaá])",
            "jug",
        ),
        (
            r"\b(?:final|match|game)s?\b",
            r"\b(final|partido|partidos|finales) (será|serán|fue|fueron) tocad(?=[oa])",
            r"\1 \2 jugad",
        ),
        (r"\b[Ss]howers?\b", r"\b([Ll])as duchas\b", r"\1os chubascos"),
        (r"\b[Ss]howers?\b", r"\b[Dd]uchas\b", "chubascos"),
        (r"\bon (?:its|their|his|her) feet\b", r"\b(?:es|son|está|están) en sus pies\b", "está en pie"),
        (r"\btell\w* the story\b|\btold the story\b", r"\bdice la historia\b", "cuenta la historia"),
        (r"\btook part\b", r"\bmedió en\b", "participó en"),
        (r"\btook part\b", r"\bmediaron en\b", "participaron en"),
        (r"\brais\w+\b", r"\bcrió\b", "subió"),
        (r"\bfarms?\b", r"\bparque(s?)\b", r"granja\1"),
        (r"\bmetres of length|\bmet(?:er|re)s long\b|\bmiles long\b", r"\bde periodo\b", "de largo"),
        (r"\blong\b", r"(?<=metros )de periodo\b", "de largo"),
        (r"\bborders?\b", r"\bel borde\b", "la frontera"),
        (r"\bplanes?\b", r"\b([Uu])n plano\b", r"\1n avión"),
        (r"\bplanes?\b", r"\bplano(s?)\b", lambda m: "aviones" if m[1] else "avión"),
        (r"\bbills?\b", r"\b[Ll]a factura pasó de largo\b", "La ley se aprobó por"),
        (r"\bthrough\b", r"\ba través del\b", "por el"),
        (r"\bthrough\b", r"\ba través de(?= (?:el|la|los|las)\b)", "por"),
        (r"\bwork", r"\bfuncionando en\b", "trabajando en"),
        (r"\bcoach\b", r"\bautocar\b", "entrenador"),
        (r"\bcoaches\b", r"\bautocares\b", "entrenadores"),
        (r"\bdrivers?\b", r"\bla motor\b", "el conductor"),
        (r"\bdrivers?\b", r"\bLa motor\b", "El conductor"),
        (r"\bthousands\b", r"\bLos miles de\b", "Miles de"),
        (r"\b(?:high|tall)\b", r"\bde cota\b", "de altura"),
        (r"\bstation\b", r"\b(la|una) canal\b", r"\1 estación"),
        (r"\bstations\b", r"\bcanales\b", "estaciones"),
        (r"\bnear\b", r"\bse acerca (el|la|los|las)\b", r"cerca de \1"),
        (r"\bnear\b", r"\bcerca de el\b", "cerca del"),
        (r"\bwork", r"\bobrando\b", "trabajando"),
        (r"\bwork", r"\b([Oo])bra (?=en|con|para)", lambda m: "Trabaja " if m[1] == "O" else "trabaja "),
        (r"\btalking about\b", r"\bqué (est[áa]\w*) hablando(?: de| aproximadamente)?\b", r"de qué \1 hablando"),
        (r"\bhire\b", r"\balquiler\b", "contratar"),
        (r"\bSmith\b", r"\bHerrero\b", "Smith"),
        (r"\bno$", r"\bnúm\b", "no"),
        (r"\breach", r"\blogr(?=[aáeéoó])", "alcanz"),
        (r"\breach", r"\blograr", "alcanzar"),
        (r"\bmeet", r"\bcumplirá (?=con )", "se reunirá "),
        (r"\bmeet", r"\bcumplirá\b(?! con)", "se reunirá con"),
        (r"\bpower\b", r"\bsin poder\b", "sin luz"),
        (r"\bcourt\b", r"\b([Ll])a corte\b", r"\1a justicia"),
        (r"\bunions?\b", r"\blas uniones\b", "los sindicatos"),
        (r"\bplayers?\b", r"\bla jugadora\b", "el jugador"),
        (r"\bstocks?\b", r"\b([Ll])os stocks\b", r"\1as acciones"),
        (r"\bhalf.?time\b", r"\btiempo medio\b", "el descanso"),
        (r"\bis expected\b", r"\bestá esperad[oa]\b", "se espera"),
        (r"\bare expected\b", r"\bestán esperad[oa]s\b", "se esperan"),
        (r"\bheavy rain\b", r"\blluvia pesada\b", "lluvia fuerte"),
        (r"\babout\b", r" aproximadamente\b(?=[.?!]?$)", ""),
    ),
    numbers=_NUMBERS,
    stayed=_STAYED_ENGLISH,
    contracted=((r"\bde el\b(?! [A-Z])", "del"), (r"\ba el\b(?! [A-Z])", "al")),
    marks={"?": "¿", "!": "¡"},
)

SPANISH_TO_ENGLISH = Repairs(
    clauses={
        "adiós": "goodbye",
        "bienvenidos": "welcome",
        "buena suerte": "good luck",
        "buenas noches": "good evening",
        "buenas tardes": "good afternoon",
        "buenos días": "good morning",
        "claro": "of course",
        "claro que sí": "of course",
        "cómo está": "how are you",
        "cómo estás": "how are you",
        "de acuerdo": "all right",
        "gracias": "thank you",
        "gracias por su atención": "thank you for your attention",
        "hasta luego": "see you later",
        "hasta mañana": "see you tomorrow",
        "hasta pronto": "see you soon",
        "hola": "hello",
        "lo siento": "I am sorry",
        "muchas gracias": "thank you very much",
        "no lo sé": "I do not know",
        "no sé": "I do not know",
        "nos vemos": "see you later",
        "nos vemos mañana": "see you tomorrow",
        "perdón": "excuse me",
        "por favor": "please",
        "por supuesto": "of course",
        "qué gol": "what a goal",
        "qué hora es": "what time is it",
        "siéntese": "sit down",
        "vale": "all right",
        "vamos": "let's go",
    },
    openings={
        "bienvenidos a": "welcome to",
        "buenas noches a": "good evening to",
        "buenas noches y bienvenidos a": "good evening and welcome to",
        "buenas tardes a": "good afternoon to",
        "buenas tardes y bienvenidos a": "good afternoon and welcome to",
        "buenos días a": "good morning to",
        "buenos días y bienvenidos a": "good morning and welcome to",
        "gracias por": "thank you for",
        "me llamo": "my name is",
        "soy": "I am",
        "vamos a hablar de": "let us talk about",
    },
    before=(
        (r"…", "."),
        (r"[¿¡]", ""),
        (r"\bel (lunes|martes|miércoles|jueves|viernes|sábado|domingo)\b", r"\1"),
        (r"\bun (\d[\d.,]*) ?%", r"\1%"),
        (r"\bdesde hace (\w+ (?:años|meses|semanas|días))\b", r"durante \1"),
        (r"(?i)\bresultaron herid[oa]s\b", "fueron heridos"),
        (r"(?i)\bresultó herid[oa]\b", "fue herido"),
        (r"(?i)\bhace (?:mucho )?(frío|calor)\b", r"está muy \1"),
        (r"(?i)\by vivo en\b", "y resido en"),
        (r"(?i)\bhablar del\b", "hablar sobre el"),
    ),
    after=(
        (
            r"(?<!^)(?<!on )(?<!of )(?<!every )(?<!last )(?<!next )\b((?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)\b",
            r"on \1",
        ),
        (r"\b[Tt]he (?=on \w+day\b)", ""),
        (r"\b([Tt])housand of\b", r"\1housands of"),
        (r"\bgo to speak of the time\b", "are going to talk about the weather"),
        (r"\b([Ww])e go to (?=[a-z])", r"\1e are going to "),
        (r"\bThe gentleman (?=[A-Z])", "Mr. "),
        (r"\b[Tt]he lady (?=[A-Z])", "Mrs. "),
        (r"^[Ww]hich (?=goal|day|pity|joy)", "what a "),
        (r"\b(I|we|you|they|he|she|it) no\b", r"\1 do not"),
        (r"^It expects (\w+)", r"\1 is expected"),
        (r"(\d) %", r"\1%"),
    ),
    words=(
        (r"\bmiles de\b", r"\bMiles of\b", "Thousands of"),
        (r"\bmiles de\b", r"\bmiles of\b", "thousands of"),
        (r"\bmarcharon\b", r"\bleft\b", "marched"),
        (r"\bcuesta\b", r"^[Cc]ost\b", "it costs"),
        (r"\bsu atención\b", r"\b[Hh]is attention\b", "your attention"),
        (r"\bdesde hace\b", r"\bduring\b", "for"),
        (r"\bequipo\b", r"\bsquad\b", "team"),
        (r"\bel tiempo\b|\bdel tiempo\b", r"\b(?:about|of|on) the time\b", "about the weather"),
    ),
    numbers=_NUMBERS,
)
