{#- One row per currency_earned event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('currency_earned', [
        {'name': 'currency', 'type': 'string', 'required_from': 1},
        {'name': 'amount', 'type': 'integer', 'required_from': 1},
        {'name': 'source', 'type': 'string', 'required_from': 1},
        {'name': 'item_id', 'type': 'string'},
        {'name': 'config_version', 'type': 'string'},
    ])
}}
