{#- One row per push_opened event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('push_opened', [
        {'name': 'message_id', 'type': 'string', 'required_from': 1},
        {'name': 'campaign', 'type': 'string'},
    ])
}}
