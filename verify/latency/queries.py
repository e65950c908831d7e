"""The texts that the latency gate sends: a realistic mix of queries, and the worst case.

The mix has the lengths that a search box in front of a knowledge base meets: mostly a handful of
words, some whole questions, few long ones. In words: 3 to 37, half of them at most 10, three
quarters at most 17, one in ten 29 or more. The texts were written for this purpose; each is sent
equally often, so the 95th percentile lies among the four longest.
"""

from __future__ import annotations

QUERIES: tuple[str, ...] = (
    # 3 to 5 words: what people type first
    "reset my password",
    "invoice address change",
    "vegan lasagne recipe",
    "train strike tomorrow",
    "python read csv",
    "symptoms of anaemia",
    "cheap flights to Lisbon",
    "cancel subscription before renewal",
    "printer offline windows 11",
    "best hikes near Innsbruck",
    "convert fahrenheit to celsius",
    "who wrote Middlemarch",
    "error code E24 dishwasher",
    "parental leave policy contractors",
    "difference between UDP and TCP",
    "café opening hours Sunday",
    # 6 to 9 words
    "how long does a bank transfer take",
    "why does my sourdough not rise enough",
    "what size bicycle frame do I need",
    "export all customers with overdue invoices",
    "can I deduct home office costs twice",
    "meaning of the red light on router",
    "how to prune an old apple tree",
    "connection refused when starting the local database",
    "where is the nearest recycling centre open late",
    "does the warranty cover water damage on phones",
    "list open tickets assigned to the billing team",
    "how many calories are in a boiled egg",
    "is it safe to freeze cooked rice again",
    "SELECT count of distinct users per day in SQL",
    # 10 to 14 words
    "what documents do I need to register a car bought in another country",
    "which plants keep slugs away from a vegetable garden without any chemicals",
    "the app closes itself when I open the camera on my tablet",
    "how do I stop my cat from scratching the new sofa at night",
    "compare fixed and variable mortgage rates for a ten year term",
    "steps to restore a deleted branch that was never pushed to origin",
    "who approves travel expenses above two thousand euros in the sales department",
    "what is the boiling point of water at three thousand metres altitude",
    "our webhook receives every event twice since the release on Monday morning",
    "can two people share one licence if they never work at once",
    "how should I store fresh basil so that it stays green longer",
    "find contracts with a notice period of less than three months",
    "why is the sky orange after a dust storm from the Sahara",
    "show me presentations about supply chain risk from the last two quarters",
    "when does the museum of natural history offer guided tours for children",
    # 15 to 25 words
    "I was charged for two nights although I cancelled the booking within the free period, "
    "how do I get a refund",
    "what is the recommended way to rotate credentials for a service account without any "
    "downtime for the clients that use it",
    "my landlord wants to raise the rent by fifteen percent after a renovation, is that "
    "allowed and what can I do",
    "explain the difference between supervised and unsupervised learning to somebody who has "
    "only had mathematics at school",
    "looking for a quiet family hotel by the sea with a kitchen, at most one hour from the airport",
    "the training loss goes down but the validation accuracy stays at chance level after "
    "twenty epochs, what should I check first",
    "which vaccinations are advised for a four week trip through Kenya and Tanzania during the "
    "rainy season",
    "draft a polite reminder to a customer whose payment is three weeks late and who has not "
    "answered two earlier messages",
    "we moved the office and the printer now gets an address from the guest network, how can "
    "it be put back",
    # 26 to 40 words
    "I have a chronic back problem and sit at a desk all day; which exercises can I do in ten "
    "minutes between meetings without special equipment or changing clothes",
    "please summarise what the works council agreement says about on-call duty at weekends, in "
    "particular who may be asked, how the hours are paid and how far ahead the rota has to be "
    "published",
    "after the update to the latest firmware our access points drop every client for about two "
    "minutes at the full hour, the logs only mention a group key rotation, has anyone seen "
    "this before",
    "a customer in Norway ordered three machines in June, received two, and was invoiced for "
    "four; find the delivery notes, the credit note if there is one, and the name of the "
    "person who handled the complaint",
    "how can I explain to my daughter, who is nine, why the moon sometimes looks huge near the "
    "horizon and small high in the sky although its distance from us hardly changes",
    "what are the arguments for and against keeping a monolith when the team has grown to forty "
    "people, deployments take an hour, and half of the incidents come from one module nobody "
    "wants to own",
)

_PASSAGE = (
    "The harbour had been rebuilt twice since the storm of the previous winter and the engineers "
    "who came to inspect the new wall wrote long careful reports about currents sediment and the "
    "price of stone while the fishermen who had known the old one drank their coffee and waited "
    "for the first real wind of autumn to show what all those pages were worth"
)


def worst_text(max_length: int) -> str:
    """Return a text that fills `max_length` tokens under any tokenizer that keeps words apart."""
    words = _PASSAGE.split()
    return " ".join(words[i % len(words)] for i in range(max_length))


def workload(name: str, *, max_length: int) -> tuple[str, ...]:
    """Return the texts of a workload.

    Parameters
    ----------
    name : {"mix", "worst", "tokens-N"}
        The realistic queries, the one text that fills the encoder, or one of N tokens.
    max_length : int
        Tokens that the encoder keeps.

    Raises
    ------
    ValueError
        For any other name.
    """
    if name == "mix":
        return QUERIES
    if name == "worst":
        return (worst_text(max_length),)
    if name.startswith("tokens-"):
        return (worst_text(int(name.removeprefix("tokens-")) - 2),)
    raise ValueError(f'There is no workload "{name}"; known are "mix", "worst" and "tokens-N".')
