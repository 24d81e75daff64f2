{#- Whether an event may have moved since this model was formed: what it counts where the event was
    before has to be formed anew. Never in a first build, which counts it where it is. -#}
{%- macro has_moved(column, cursor='_batch_id') -%}
    {%- if is_incremental() -%}
        {{ is_new(column, cursor) }}
    {%- else -%}
        false
    {%- endif -%}
{%- endmacro -%}
