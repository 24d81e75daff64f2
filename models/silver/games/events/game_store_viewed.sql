{#- One row per store_viewed event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('store_viewed', [
        {'name': 'store_id', 'type': 'string', 'required_from': 1},
        {'name': 'item_id', 'type': 'string'},
        {'name': 'entry_point', 'type': 'string'},
    ])
}}
