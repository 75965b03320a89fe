"""What the sample programme says: invented local news, in items of three sentences that belong together."""

from __future__ import annotations

ITEMS: tuple[tuple[str, str, str], ...] = (
    (
        "Good evening and welcome to our programme.",
        "Tonight we will speak about the river, the schools and the weather.",
        "The weather follows at the end of the programme.",
    ),
    (
        "The town council has approved a new bridge over the river.",
        "The work will begin in May and will last two years.",
        "Cars and buses must use the old road until then.",
    ),
    (
        "The local football team has won its third game this month.",
        "More than four thousand people watched the match.",
        "The captain said that his team is young and very strong.",
    ),
    (
        "The farmers in the north had a good harvest this year.",
        "There was enough rain in May and a lot of sun in June.",
        "The price of bread will probably not change.",
    ),
    (
        "Scientists at the university have found a new kind of butterfly.",
        "It is very small, and it lives only in the mountains.",
        "They will study this butterfly during three more summers.",
    ),
    (
        "The government will buy twelve new electric trains.",
        "They are quiet, fast and made in this country.",
        "The first train will arrive before the winter.",
    ),
    (
        "The old theatre of the city will open again on Saturday.",
        "The workers have repaired the roof and the doors.",
        "The first work is the story of a family of sailors.",
    ),
    (
        "The hospital has opened a new building for children.",
        "It has forty beds and a large garden.",
        "The doctors say that they needed more space.",
    ),
    (
        "There was a strong storm on Monday night.",
        "There were no victims, but two boats disappeared.",
        "The fishermen worked again this morning.",
    ),
    (
        "Many schools will teach music every day.",
        "The ministry will buy all the instruments.",
        "The parents and the teachers are very happy.",
    ),
    (
        "The museum presents a collection of old maps this month.",
        "Some of the maps are older than the city.",
        "The entrance is free for students on Sundays.",
    ),
    (
        "The city will plant ten thousand trees.",
        "Every street in the centre will have more shade.",
        "Neighbours can choose the trees that they prefer.",
    ),
    (
        "A young student has broken the national record.",
        "She is sixteen years old and she trains every day.",
        "Her coach believes that she can be even faster.",
    ),
    (
        "The factory on the coast will produce electric cars.",
        "It will employ three hundred people.",
        "The company looks for engineers and electricians.",
    ),
    (
        "The library of the city has a new room for children.",
        "There are chairs, tables and many books with pictures.",
        "The library opens every afternoon.",
    ),
    (
        "Last night the firemen rescued a dog from the lake.",
        "The animal was tired, but it is in good health.",
        "Its family has written a letter to the firemen.",
    ),
    (
        "The price of electricity fell a little in October.",
        "The reason is that there is a lot of water in the rivers.",
        "The experts believe that the price will not change this winter.",
    ),
    (
        "Many tourists have visited the islands this summer.",
        "All the hotels were full during July and August.",
        "The mayor believes that the islands need more water.",
    ),
    (
        "A telescope in the desert has discovered a distant star.",
        "Its light has travelled during eight hundred years.",
        "The scientists will publish the photographs next week.",
    ),
    (
        "Tomorrow there will be sun in the morning and clouds in the afternoon.",
        "At night there will be some rain in the west.",
        "On Friday it will be colder, with snow in the mountains.",
    ),
)
