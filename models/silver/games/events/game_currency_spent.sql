{#- One row per currency_spent event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('currency_spent', [
        {'name': 'currency', 'type': 'string', 'required_from': 1},
        {'name': 'amount', 'type': 'integer', 'required_from': 1},
        {'name': 'sink', 'type': 'string', 'required_from': 1},
        {'name': 'item_id', 'type': 'string'},
    ])
}}
