"""What bench/quality says: sentences of broadcasts, invented, with the numbers and terms that must survive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    domain: str
    text: str
    numbers: tuple[str, ...] = ()
    """In figures, as English writes them."""


GLOSSARY = {
    "Anderson": "",
    "Blue Line": "Línea Azul",
    "Bridgewater": "",
    "central bank": "Banco Central",
    "Green Valley": "Valle Verde",
    "Harbour Cup": "Copa del Puerto",
    "Helen Baker": "",
    "Maria Gomez": "María Gómez",
    "penalty": "penalti",
    "Riverside": "",
    "striker": "ariete",
    "Thomas Reed": "",
}
"""Asked for with every phrase; an empty one is kept as it is."""

SENTENCES = (
    Said("news", "The parliament has approved the new law on housing."),
    Said("news", "The president will travel to the capital on Thursday."),
    Said("news", "Firefighters are still working at the factory near the port."),
    Said("news", "The police have found the stolen car in a field."),
    Said("news", "The minister said that the hospitals need more doctors."),
    Said("news", "A fire destroyed an old building in the centre of the city last night."),
    Said("news", "The workers of the airport will begin a strike on Monday."),
    Said("news", "The court will announce its decision in the next few days."),
    Said("news", "Heavy rain has closed the road between the two villages."),
    Said("news", "Thousands of people marched through the streets to ask for better wages."),
    Said("news", "The government says that the price of gas will fall in the spring."),
    Said("news", "Our correspondent is at the border and joins us now."),
    Said("sport", "The home team scored in the last minute of the match."),
    Said("sport", "The referee showed the captain a yellow card."),
    Said("sport", "What a goal, and the whole stadium is on its feet!"),
    Said("sport", "The goalkeeper saved the ball with one hand."),
    Said("sport", "She won the race in spite of the strong wind."),
    Said("sport", "The coach is not happy with the defence."),
    Said("sport", "The young driver starts from the first row tomorrow."),
    Said("sport", "The visitors lost their best player before half time."),
    Said("sport", "The final will be played in the rain."),
    Said("sport", "He passes to the left, he shoots, and the ball hits the post."),
    Said("sport", "The swimmers are ready and the crowd is quiet."),
    Said("numbers", "The train leaves at 7:30 and arrives at 9:45.", ("7:30", "9:45")),
    Said("numbers", "The bridge is 340 metres long and 28 metres wide.", ("340", "28")),
    Said("numbers", "Unemployment fell to 6.5 percent in March.", ("6.5",)),
    Said("numbers", "More than 12,000 people live in the valley.", ("12,000",)),
    Said("numbers", "The ticket costs 15 euros and children pay 8.", ("15", "8")),
    Said("numbers", "The company will invest 250 million dollars in 4 years.", ("250", "4")),
    Said("numbers", "In 1998 the river rose by 3 metres.", ("1998", "3")),
    Said("numbers", "The temperature will be between 18 and 24 degrees.", ("18", "24")),
    Said("numbers", "They won 73 to 68 after 2 extra periods.", ("73", "68", "2")),
    Said("numbers", "The winning numbers are 9, 42 and 17.", ("9", "42", "17")),
    Said("numbers", "The bank raised its rate from 2.25 to 2.75 percent.", ("2.25", "2.75")),
    Said("numbers", "Flight 512 departs from gate 36.", ("512", "36")),
    Said("numbers", "The museum received 1,450,000 visitors last year.", ("1,450,000",)),
    Said("names", "Thomas Reed is the new mayor of Bridgewater."),
    Said("names", "Helen Baker scored from the penalty spot."),
    Said("names", "The Blue Line will be closed this weekend."),
    Said("names", "The central bank has changed its forecast."),
    Said("names", "Anderson and Maria Gomez will play the final of the Harbour Cup."),
    Said("names", "The striker from Riverside is injured."),
    Said("names", "The Green Valley festival begins on Friday."),
    Said("names", "Maria Gomez spoke with the workers in Riverside."),
    Said("names", "The Harbour Cup returns to Bridgewater after 5 years.", ("5",)),
    Said("names", "The referee gave a penalty, and Anderson scored."),
    Said("names", "The Blue Line stops at Green Valley every 10 minutes.", ("10",)),
    Said("names", "Helen Baker wrote to the central bank in May."),
    Said("weather", "Tomorrow will be sunny in the south and cloudy in the north."),
    Said("weather", "There will be snow above 1,200 metres.", ("1,200",)),
    Said("weather", "The wind will be strong on the coast during the night."),
    Said("weather", "Temperatures will drop at the weekend."),
    Said("weather", "There is fog in the valleys this morning, so drive with care."),
    Said("weather", "Showers are expected in the afternoon."),
    Said("weather", "On Wednesday the sky will be clear and the sea will be calm."),
    Said("weather", "The storm is moving to the east and will reach the islands tonight."),
    Said("culture", "The orchestra will play in the old church on Sunday."),
    Said("culture", "The film tells the story of a family that lost its farm."),
    Said("culture", "The singer has written a book about her childhood."),
    Said("culture", "The exhibition is open every day except Tuesday."),
    Said("culture", "Scientists have found water under the ice of the planet."),
    Said("culture", "The new library has a room for children and a quiet garden."),
    Said("culture", "Students from 6 countries took part in the competition.", ("6",)),
    Said("culture", "The actor received the prize for the second time."),
    Said("culture", "Researchers believe that the disease can be cured."),
    Said("culture", "The painting was sold to a museum in another city."),
)
