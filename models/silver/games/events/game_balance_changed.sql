{#- One row per balance_changed event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('balance_changed', [
        {'name': 'currency', 'type': 'string', 'required_from': 1},
        {'name': 'old', 'type': 'integer', 'required_from': 1},
        {'name': 'new', 'type': 'integer', 'required_from': 1},
        {'name': 'order_id', 'type': 'string'},
    ])
}}
